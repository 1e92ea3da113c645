"""The writer of spec-lite files."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from specutils import Spectrum

from specz_cnn import read_arrays, read_spec_lite, write_spec_lite
from specz_cnn.io import read_arrays_astropy

float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)
text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""), max_size=20)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


@settings(max_examples=25)
@given(data=st.data(), n=st.integers(1, 40), first=st.integers(0, 50_000))
def test_round_trip(scratch, data, n, first):
    path = scratch / "any.fits"
    flux, ivar = (data.draw(hnp.arrays(np.float32, n, elements=float32)) for _ in range(2))
    and_mask = data.draw(hnp.arrays(np.int32, n))
    loglam = 1e-4 * (first + np.arange(n))
    name = {
        "plate": data.draw(st.integers(1, 99999)),
        "mjd": data.draw(st.integers(50000, 69999)),
        "fiber": data.draw(st.integers(1, 9999)),
    }
    row = {
        "z": data.draw(st.floats(-0.0078125, 7.5, width=32)),
        "z_err": data.draw(st.floats(0, 1, width=32)),
        "zwarning": data.draw(st.integers(0, (1 << 31) - 1)),
        "ra": data.draw(st.floats(0, 360, exclude_max=True)),
        "dec": data.draw(st.floats(-90, 90)),
    }
    spectral_class = data.draw(text)
    write_spec_lite(
        path,
        loglam,
        flux,
        ivar,
        and_mask=and_mask,
        **name,
        **row,
        spectral_class=spectral_class,
        overwrite=True,
    )
    for read in (read_arrays, read_arrays_astropy):
        arrays = read(path, mask="ivar")
        np.testing.assert_array_equal(arrays.flux, flux)
        with np.errstate(invalid="ignore"):
            usable = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
        np.testing.assert_array_equal(arrays.ivar, np.where(usable, ivar, 0))
        np.testing.assert_array_equal(arrays.loglam, loglam.astype(np.float32))
        assert {key: arrays.identity[key] for key in name} == name
        assert (arrays.z_pipe, arrays.z_pipe_err, arrays.zwarning_pipe) == (
            row["z"],
            row["z_err"],
            row["zwarning"],
        )
        assert (arrays.ra, arrays.dec, arrays.class_pipe) == (row["ra"], row["dec"], spectral_class)


def test_layout_is_that_of_the_survey(spec_file, spectrum_paths):
    real = next(path for path in spectrum_paths if path.name == "spec-10000-57346-0005.fits")
    with fits.open(spec_file) as ours, fits.open(real) as theirs:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs][:3]
        assert ours[1].columns.names == theirs[1].columns.names
        assert ours[1].columns.formats == theirs[1].columns.formats
        assert set(ours[2].columns.names) <= set(theirs[2].columns.names)
        assert set(ours[0].header) <= set(theirs[0].header)
        assert len(ours[2].data) == 1


def test_built_in_loader_reads_the_file(spec_file):
    spectrum = Spectrum.read(spec_file)
    assert spectrum.flux.unit == u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))
    assert spectrum.meta["header"]["COEFF0"] == pytest.approx(3.6)


def test_a_header_card_marks_simulations(tmp_path, columns):
    path = tmp_path / "spec-0001-55000-0001.fits"
    write_spec_lite(
        path, columns["loglam"], columns["flux"], columns["ivar"], header={"SIMULATE": (True, "not the sky")}
    )
    spectrum = read_spec_lite(path)
    assert spectrum.meta["header"]["SIMULATE"] is True
    assert spectrum.meta["zwarning"] == -1 and np.isnan(spectrum.meta["z"])
    assert "specobjid" not in spectrum.meta and "ra" not in spectrum.meta


def test_line_table(tmp_path, columns):
    path = tmp_path / "spec-0001-55000-0002.fits"
    lines = Table({"LINENAME": ["C_IV 1549", "Mg_II 2799"], "LINEZ": [2.1, 2.2]})
    write_spec_lite(path, columns["loglam"], columns["flux"], columns["ivar"], lines=lines)
    with fits.open(path) as hdulist:
        assert hdulist[3].name == "SPZLINE"
        assert hdulist[3].data["FIBERID"].tolist() == [2, 2]
        assert hdulist[3].data["LINENAME"].tolist() == ["C_IV 1549", "Mg_II 2799"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux": np.ones(3)}, r"flux has shape \(3,\)"),
        ({"loglam": np.ones(300)}, "does not ascend"),
        ({"wdisp": np.ones((300, 2))}, "wdisp has shape"),
        ({"fiber": 0}, "names no observation"),
    ],
)
def test_wrong_input_leaves_no_file(tmp_path, columns, change, message):
    path = tmp_path / "spec-0001-55000-0001.fits"
    with pytest.raises(ValueError, match=message):
        write_spec_lite(path, **(columns | change))
    assert list(tmp_path.iterdir()) == []


def test_observation_needs_a_name_and_files_are_kept(tmp_path, columns):
    with pytest.raises(ValueError, match="any.fits names no observation"):
        write_spec_lite(tmp_path / "any.fits", **columns)
    path = tmp_path / "spec-0001-55000-0001.fits"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_spec_lite(path, **columns)
    assert path.read_text() == "precious"
    write_spec_lite(path, **columns, overwrite=True)
    assert read_arrays(path).plate == 1
    assert list(tmp_path.iterdir()) == [path]


def test_spectrum_write(spec_file, tmp_path):
    spectrum = read_spec_lite(spec_file)
    spectrum.write(tmp_path / "copy.fits", format="SDSS spec-lite")
    copy = read_spec_lite(tmp_path / "copy.fits")
    np.testing.assert_array_equal(copy.flux.value, spectrum.flux.value)
    np.testing.assert_array_equal(copy.mask, spectrum.mask)
    np.testing.assert_array_equal(copy.uncertainty.array[~copy.mask], spectrum.uncertainty.array[~copy.mask])
    names = (
        "plate",
        "mjd",
        "fiber",
        "run2d",
        "specobjid",
        "ra",
        "dec",
        "class",
        "subclass",
        "z",
        "z_err",
        "zwarning",
    )
    assert {name: copy.meta[name] for name in names} == {name: spectrum.meta[name] for name in names}


def test_spectrum_write_converts_units_and_order(tmp_path):
    wavelength = np.linspace(400, 900, 200)[::-1] * u.nm
    flux = np.linspace(1, 2, 200) * 1e-28 * u.erg / u.s / u.cm**2 / u.Hz
    spectrum = Spectrum(
        spectral_axis=wavelength, flux=flux, uncertainty=StdDevUncertainty(0.1 * flux.value, unit=flux.unit)
    )
    path = tmp_path / "spec-0001-55000-0001.fits"
    spectrum.write(path, format="SDSS spec-lite", spectral_class="QSO", z=1.5)
    written = read_spec_lite(path)
    expected = flux.to(written.flux.unit, u.spectral_density(wavelength))[::-1]
    np.testing.assert_allclose(written.flux.value, expected.value, rtol=1e-5)
    np.testing.assert_allclose(written.flux.value * np.sqrt(written.uncertainty.array), 10, rtol=1e-5)
    np.testing.assert_allclose(written.spectral_axis.to_value(u.nm), wavelength.value[::-1], rtol=1e-6)
    assert (written.meta["class"], written.meta["z"]) == ("QSO", 1.5)


def test_spectrum_write_refuses_what_the_format_cannot_hold(tmp_path):
    wavelength = np.linspace(4000, 9000, 20) * u.AA
    unit = u.erg / u.s / u.cm**2 / u.AA
    with pytest.raises(ValueError, match="no uncertainty"):
        Spectrum(spectral_axis=wavelength, flux=np.ones(20) * unit).write(
            tmp_path / "spec-0001-55000-0001.fits", format="SDSS spec-lite"
        )
    with pytest.raises(ValueError, match="one spectrum"):
        Spectrum(spectral_axis=wavelength, flux=np.ones((2, 20)) * unit).write(
            tmp_path / "spec-0001-55000-0001.fits", format="SDSS spec-lite"
        )
