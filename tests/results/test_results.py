"""Results of one spectrum, and tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import InverseVariance
from astropy.table import QTable
from specutils import Spectrum

from specz_cnn import RedshiftFlag, RedshiftResult, SpectrumArrays
from specz_cnn.results import TABLE_COLUMNS, make_table, table_format, write_table
from specz_cnn.results.lines import LINES, line_table

STEP = 4e-4 * np.log(10)
_C = 299792.458
PROVENANCE = {"model": "rnet-e-1", "model_sha256": "0" * 64, "cross_check": "", "cross_check_sha256": ""}
PROVENANCE |= {"package": "specz-cnn 1.0", "device": "cpu"}


@pytest.fixture
def arrays():
    """A flat spectrum with CIV at z = 1.5, signal-to-noise ratio 10."""
    rng = np.random.default_rng(1)
    loglam = 3.56 + 1e-4 * np.arange(4500)
    velocity = (10**loglam / (1549.06 * 2.5) - 1) * 299792.458
    flux = 10 + 20 * np.exp(-0.5 * (velocity / 1500) ** 2) + rng.normal(size=4500)
    return SpectrumArrays(
        loglam, flux.astype(np.float32), np.ones(4500, np.float32), "a.fits", 266, 51602, 13
    )


@pytest.fixture
def result(arrays):
    u_true = np.log(2.5)
    bins = STEP * (np.arange(2272) + 0.5)
    pdf = 0.9 * np.exp(-0.5 * ((bins - u_true) / STEP) ** 2)
    pdf += 0.1 * np.exp(-0.5 * ((bins - 0.4) / STEP) ** 2)
    return RedshiftResult(
        z=1.5,
        z_err=0.002,
        z_lo=1.498,
        z_hi=1.503,
        confidence=0.93,
        p_qso=0.99,
        z_second=np.expm1(0.4),
        p_second=0.1,
        z_check=1.501,
        snr=10.0,
        coverage=0.9,
        flags=RedshiftFlag.SMALL_DELTA | RedshiftFlag.LOW_CONFIDENCE,
        pdf=pdf / pdf.sum(),
        step=STEP,
        spectrum=arrays,
        provenance=PROVENANCE,
    )


def test_result_is_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.z = 2.0


def test_grid_and_pdf(result):
    assert result.z_grid.shape == result.pdf.shape
    assert result.z_grid[result.pdf.argmax()] == pytest.approx(1.5, abs=0.002)


def test_intervals(result):
    (interval,) = result.z_interval(0.68)
    assert interval[0] < 1.5 < interval[1]
    two = result.z_interval(0.98)
    assert len(two) == 2
    assert two[0][0] < np.expm1(0.4) < two[0][1]
    with pytest.raises(ValueError, match="between 0 and 1"):
        result.z_interval(68)


def test_words(result):
    text = repr(result)
    assert "0266-51602-0013" in text and "1.50000" in text and "SMALL_DELTA" in text and "z_second" in text
    assert "\n" not in text
    html = result._repr_html_()
    assert "SMALL_DELTA" in html and "rnet-e-1" in html
    nameless = dataclasses.replace(
        result, flags=RedshiftFlag(0), spectrum=SpectrumArrays(*(np.empty(0),) * 3)
    )
    assert "flags: none" in repr(nameless)


def test_lines(result):
    lines = result.lines
    assert list(lines["name"]) == [line.name for line in LINES]
    by_name = {row["name"]: row for row in lines}
    assert by_name["CIV"]["wavelength"].to_value("AA") == pytest.approx(1549.06 * 2.5)
    assert by_name["CIV"]["covered"] and by_name["CIV"]["snr"] > 50
    assert by_name["MgII"]["covered"] and abs(by_name["MgII"]["snr"]) < 5
    assert not by_name["Ha"]["covered"] and np.isnan(by_name["Ha"]["snr"])


def test_maximum_of_a_line():
    """A line 300 km/s to the blue of where the redshift puts it, with a second one in its window."""
    rng = np.random.default_rng(6)
    loglam = 3.56 + 1e-4 * np.arange(4500)
    velocity = _C * (10**loglam / (2798.75 * 2.2) - 1)
    line = 5 * np.exp(-0.5 * ((velocity + 300) / 900) ** 2) + 2 * np.exp(
        -0.5 * ((velocity - 2700) / 150) ** 2
    )
    found = []
    for _ in range(30):
        flux = 3 + line + 0.5 * rng.normal(size=4500)
        row = line_table(loglam, flux, np.full(4500, 4.0), 1.2)[3]
        assert row["name"] == "MgII"
        found.append((row["velocity"].to_value("km/s"), row["velocity_err"].to_value("km/s")))
        assert row["peak"].to_value("AA") == pytest.approx(2798.75 * 2.2 * (1 + found[-1][0] / _C), abs=1e-6)
    velocities, errors = np.array(found).T
    assert velocities.mean() == pytest.approx(-300, abs=15)
    assert 0.5 * errors.mean() < velocities.std() < 2 * errors.mean()


def test_no_maximum_of_a_line_that_is_not_there():
    loglam = 3.56 + 1e-4 * np.arange(4500)
    table = line_table(loglam, 5 + np.random.default_rng(1).normal(size=4500), np.ones(4500), 1.0)
    assert np.isnan(table["velocity"]).all() and np.isnan(table["peak"]).all()


def test_model_spectrum(result):
    assert result.model is None and result.model_flux is None
    seen = []

    def description(z, loglam):
        seen.append(z)
        return np.where(loglam < 3.57, np.nan, 2.0)

    fitted = dataclasses.replace(result, description=description)
    assert fitted.model.flux.shape == result.spectrum.flux.shape
    np.testing.assert_allclose(fitted.model.spectral_axis.to_value("AA"), 10**result.spectrum.loglam)
    assert fitted.model.mask.sum() == (result.spectrum.loglam < 3.57).sum()
    assert seen == [result.z]  # made when it is wanted, and once


@pytest.mark.parametrize("z", [np.nan, -1.0, 50.0])
def test_lines_that_are_nowhere(arrays, z):
    table = line_table(arrays.loglam, arrays.flux, arrays.ivar, z)
    assert not table["covered"].any()


def test_signal_to_noise_of_a_line_that_is_not_there():
    rng = np.random.default_rng(2)
    loglam = 3.56 + 1e-4 * np.arange(4500)
    found = [
        line_table(loglam, 5 + rng.normal(size=4500), np.ones(4500), 1.0 + 0.01 * k)["snr"] for k in range(40)
    ]
    values = np.concatenate([snr[np.isfinite(snr)] for snr in found])
    assert values.std() == pytest.approx(1.0, abs=0.25)
    assert abs(values.mean()) < 0.4


def test_row_has_the_columns_of_a_table(result):
    row = result.to_row()
    assert list(row) == [name for name, *_ in TABLE_COLUMNS]
    assert row["flags"] == int(result.flags) and type(row["flags"]) is int
    assert row["plate"] == 266 and row["z"] == 1.5 and row["error"] == ""
    table = make_table({name: [value] for name, value in row.items()}, result.provenance)
    assert table["z"][0] == 1.5


@pytest.mark.parametrize("uncertain", [True, False])
def test_apply_to_a_copy(result, arrays, uncertain):
    spectrum = Spectrum(
        flux=arrays.flux * u.Jy,
        spectral_axis=10**arrays.loglam * u.AA,
        uncertainty=InverseVariance(arrays.ivar) if uncertain else None,
        mask=arrays.ivar <= 0 if uncertain else None,
        meta={"plate": 266},
    )
    moved = result.apply_to(spectrum)
    assert spectrum.redshift.value == 0
    assert moved.redshift.value == pytest.approx(1.5)
    np.testing.assert_allclose(moved.spectral_axis.value, spectrum.spectral_axis.value, rtol=1e-12)
    assert moved.meta["redshift_cnn"]["z"] == 1.5 and moved.meta["plate"] == 266
    assert "redshift_cnn" not in spectrum.meta
    assert (moved.uncertainty is not None) == uncertain
    moved.flux[0] = 0 * u.Jy
    assert spectrum.flux[0].value != 0


@pytest.fixture
def columns():
    """Columns of three rows: a good one, one without a result, one from elsewhere."""
    values = {
        str: ["a.fits", "", "b \u00e4.fits"],
        np.float64: [1.5, np.nan, 0.25],
    }
    rows = {name: values.get(dtype, [3, -1, 0]) for name, dtype, *_ in TABLE_COLUMNS}
    return rows | {"error": ["", "no usable pixel", ""]}


@pytest.fixture
def table(columns):
    return make_table(columns, PROVENANCE)


def test_table(table):
    assert table.colnames == [name for name, *_ in TABLE_COLUMNS]
    assert table["ra"].unit == u.deg and table.meta == PROVENANCE
    assert all(table[name].info.description for name in table.colnames)


def test_table_without_pipeline_columns(columns):
    unknown = {
        "z_pipe": [np.nan] * 3,
        "z_pipe_err": [np.nan] * 3,
        "class_pipe": [""] * 3,
        "zwarning_pipe": [-1] * 3,
    }
    table = make_table(columns | unknown, PROVENANCE)
    assert not set(unknown) & set(table.colnames)
    chosen = make_table(columns | unknown, PROVENANCE, names=["z", "z_pipe"])
    assert chosen.colnames == ["z", "z_pipe"]


def test_table_without_rows():
    table = make_table({name: [] for name, *_ in TABLE_COLUMNS}, PROVENANCE)
    assert len(table) == 0 and table["file"].dtype.kind == "U"


def same(back, table, text=lambda values: values):
    assert back.colnames == table.colnames
    for name in table.colnames:
        expected, found = table[name], back[name]
        if expected.dtype.kind == "U":
            # Astropy reads an empty text as a masked one.
            assert ["" if value is np.ma.masked else str(value) for value in found] == text(list(expected))
        else:
            np.testing.assert_array_equal(np.asarray(found, dtype=expected.dtype), np.asarray(expected))


def test_ecsv_round_trip(table, tmp_path):
    path = tmp_path / "z.ecsv"
    write_table(table, path)
    back = QTable.read(path)
    same(back, table)
    assert back.meta == table.meta and back["ra"].unit == u.deg
    assert back["z"].info.description == table["z"].info.description


@pytest.mark.parametrize("name", ["z.fits", "z.fits.gz"])
def test_fits_round_trip(table, tmp_path, name):
    write_table(table, tmp_path / name)
    back = QTable.read(tmp_path / name)
    same(back, table, lambda values: [v.encode("ascii", "backslashreplace").decode() for v in values])
    assert back.meta["MODEL"] == "rnet-e-1" and back.meta["MODELSHA"] == "0" * 64
    assert back["ra"].unit == u.deg and back["z"].info.description == table["z"].info.description
    assert table.meta == PROVENANCE


def test_parquet_round_trip(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(table, tmp_path / "z.parquet")
    back = parquet.read_table(tmp_path / "z.parquet")
    same(QTable({name: back[name].to_numpy(zero_copy_only=False) for name in back.column_names}), table)
    assert b"rnet-e-1" in b"".join(back.schema.metadata.values())


def test_votable_round_trip(table, tmp_path):
    write_table(table, tmp_path / "z.vot")
    back = QTable.read(tmp_path / "z.vot")
    same(back, table)
    assert back["ra"].unit == u.deg
    assert 'name="model" value="rnet-e-1"' in (tmp_path / "z.vot").read_text(encoding="utf-8")


def test_csv(table, tmp_path):
    write_table(table, tmp_path / "z.csv")
    back = QTable.read(tmp_path / "z.csv", format="ascii.csv")
    assert back.colnames == table.colnames
    np.testing.assert_array_equal(back["flags"], table["flags"])


def test_table_appears_whole_or_not_at_all(table, tmp_path, monkeypatch):
    path = tmp_path / "z.ecsv"
    path.write_text("before")

    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        write_table(table, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["z", "z.txt", "z.gz", "ecsv"])
def test_unknown_extension(name):
    with pytest.raises(ValueError, match=r"\.ecsv"):
        table_format(name)
