"""From spectra to redshifts: the orchestration, and the rules of the flags."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from specutils import SpectrumList

from specz_cnn import (
    RedshiftFlag,
    RedshiftResult,
    conf,
    fit_redshift_cnn,
    fit_redshifts_cnn,
    read_arrays,
    read_spec_lite,
    write_spec_lite,
)
from specz_cnn.models import ModelInfo, RNet, RNetE, save_model
from specz_cnn.models.output import resolve_device
from specz_cnn.redshift.fitter import Fitter, default_models
from specz_cnn.redshift.posterior import Posterior
from specz_cnn.redshift.prepare import prepare
from specz_cnn.results import TABLE_COLUMNS

C = 299792.458
STEP = 4e-4 * float(np.log(10))
GRID = {"start": 35440, "factor": 4, "n_pixels": 1212}


def save(directory, name, *, n_bins=600, seed=1, **changes):
    """A small network with random weights."""
    arguments = {"n_bins": n_bins, "channels": [4], "kernels": [5], "n_templates": 2}
    torch.manual_seed(seed)
    info = ModelInfo(name, f"{name}-1", "RNetE", arguments, GRID, bins={"n": n_bins, "step": STEP}, **changes)
    path = directory / f"{name}.safetensors"
    save_model(path, RNetE(**arguments), info)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights")
    return {"model": save(directory, "first"), "cross_check": save(directory, "second", n_bins=500, seed=2)}


@pytest.fixture(scope="module")
def number(tmp_path_factory):
    """A network that returns one number."""
    torch.manual_seed(3)
    info = ModelInfo(
        "number", "number-1", "RNet", {}, GRID, target={"mean": 1.0, "std": 0.3}, z_range=(0.0, 7.1)
    )
    path = tmp_path_factory.mktemp("number") / "number.safetensors"
    save_model(path, RNet(), info)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Nine files with lines at random places."""
    directory = tmp_path_factory.mktemp("spectra")
    rng = np.random.default_rng(4)
    loglam = 3.56 + 1e-4 * np.arange(4500)
    result = []
    for number in range(9):
        lines = 8 * np.exp(-0.5 * ((loglam - rng.uniform(3.58, 3.98, (4, 1))) / 0.003) ** 2).sum(0)
        path = directory / f"spec-3586-55181-{number + 1:04d}.fits"
        write_spec_lite(
            path,
            loglam,
            3 + lines + rng.normal(size=4500),
            np.ones(4500),
            plate=3586,
            mjd=55181,
            fiber=number + 1,
            ra=10.0 + number,
            dec=-5.0,
            z=0.1 * number,
        )
        result.append(str(path))
    return result


@pytest.fixture(scope="module")
def table(models, paths):
    return fit_redshifts_cnn(paths, **models)


def velocity(z, expected):
    return np.abs(C * (np.asarray(z) - expected) / (1 + np.asarray(expected)))


def test_table(table, paths):
    assert table.colnames == [name for name, *_ in TABLE_COLUMNS]
    assert list(table["file"]) == paths
    assert list(table["fiber"]) == list(range(1, 10))
    np.testing.assert_allclose(table["ra"].value, 10.0 + np.arange(9))
    np.testing.assert_allclose(table["z_pipe"], 0.1 * np.arange(9), atol=1e-6)
    assert np.isfinite(table["z"]).all() and len(set(table["z"])) > 3
    assert np.all(table["z_lo"] < table["z_hi"])
    assert table.meta["model"] == "first-1" and table.meta["cross_check"] == "second-1"
    assert len(table.meta["model_sha256"]) == 64


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_do_not_matter(table, models, paths, batch_size):
    other = fit_redshifts_cnn(paths, batch_size=batch_size, **models)
    assert velocity(other["z"], table["z"]).max() < 1
    np.testing.assert_allclose(other["confidence"], table["confidence"], atol=1e-4)
    assert list(other["flags"]) == list(table["flags"])


def test_order_does_not_matter(table, models, paths):
    other = fit_redshifts_cnn(paths[::-1], **models)
    assert list(other["file"]) == paths[::-1]
    assert velocity(other["z"][::-1], table["z"]).max() < 1


def test_processes_that_read(table, models, paths):
    # A spectrum object among the paths stays in this process.
    inputs = [*paths[:3], read_spec_lite(paths[3]), *paths[4:]]
    other = fit_redshifts_cnn(inputs, n_workers=1, **models)
    assert list(other["fiber"]) == list(table["fiber"])
    assert velocity(other["z"], table["z"]).max() < 1


def test_one_is_as_many(table, models, paths):
    for number in (0, 5):
        for spectrum in (paths[number], read_spec_lite(paths[number]), read_arrays(paths[number])):
            result = fit_redshift_cnn(spectrum, **models)
            assert isinstance(result, RedshiftResult)
            assert velocity(result.z, table["z"][number]) < 1
            assert result.flags == table["flags"][number]
            row = result.to_row()
            assert row["fiber"] == table["fiber"][number]
            assert row["z_check"] == pytest.approx(table["z_check"][number], abs=1e-5)
    assert result.pdf.shape == result.z_grid.shape == (2400,)
    assert result.pdf.sum() == pytest.approx(1)


def test_lists_of_spectra(table, models, paths):
    spectra = SpectrumList([read_spec_lite(path) for path in paths[:3]])
    found = fit_redshifts_cnn(spectra, **models)
    assert velocity(found["z"], table["z"][:3]).max() < 1
    from_generator = fit_redshifts_cnn((spectrum for spectrum in spectra), **models)
    assert velocity(from_generator["z"], table["z"][:3]).max() < 1


def test_nothing_at_all(models):
    table = fit_redshifts_cnn([], **models)
    assert len(table) == 0 and "z" in table.colnames


def test_bad_files_keep_their_rows(table, models, paths, tmp_path):
    damaged = tmp_path / "damaged.fits"
    damaged.write_bytes(b"not a spectrum")
    inputs = [paths[0], "missing.fits", str(damaged), None, paths[1]]
    found = fit_redshifts_cnn(inputs, **models)
    assert len(found) == 5
    assert velocity(found["z"][[0, 4]], table["z"][:2]).max() < 1
    assert np.isnan(found["z"][1:4]).all()
    assert list(found["flags"][1:4]) == [RedshiftFlag.READ_ERROR] * 2 + [RedshiftFlag.BAD_INPUT]
    assert all(found["error"][1:4]) and not any(found["error"][[0, 4]])
    assert found["file"][1] == "missing.fits"


def test_bad_single_inputs(models, paths):
    with pytest.raises(FileNotFoundError):
        fit_redshift_cnn("missing.fits", **models)
    arrays = read_arrays(paths[0])
    with pytest.raises(ValueError, match="no usable pixel"):
        fit_redshift_cnn(replace(arrays, ivar=np.zeros_like(arrays.ivar)), **models)
    with pytest.raises(TypeError, match="fit_redshifts_cnn"):
        fit_redshift_cnn([paths[0]], **models)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"n_workers": -1}, {"mask": "harsh"}])
def test_options_that_make_no_sense(models, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        fit_redshifts_cnn([], **models, **options)


def test_without_a_cross_check(models, paths):
    table = fit_redshifts_cnn(paths[:2], model=models["model"], cross_check=None)
    assert np.isnan(table["z_check"]).all()
    assert table.meta["cross_check"] == ""
    assert not (table["flags"] & RedshiftFlag.MODELS_DISAGREE).any()


def test_default_models():
    with conf.set_temp("default_model", "a"), conf.set_temp("default_cross_check", "b"):
        assert default_models() == ("a", "b")
        assert default_models("b") == ("b", "a")
        assert default_models("c") == ("c", "b")
        assert default_models("c", None) == ("c", None)
        assert default_models("c", "d") == ("c", "d")
        with conf.set_temp("default_cross_check", ""):
            assert default_models() == ("a", None)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="no such device"):
        resolve_device("abacus")
    with pytest.raises(RuntimeError, match="CUDA"):
        resolve_device("cuda:99")


def test_one_number(number, models, paths):
    table = fit_redshifts_cnn(paths, model=number, cross_check=models["model"])
    again = fit_redshifts_cnn(paths[::-1], model=number, cross_check=models["model"], batch_size=2)
    assert velocity(again["z"][::-1], table["z"]).max() < 1
    # The same masks at every call: the Monte-Carlo error is reproducible.
    np.testing.assert_allclose(again["z_err"][::-1], table["z_err"], rtol=1e-3)
    assert np.all(table["z_err"] > 0)
    # It cannot tell a quasar; the cross-check can.
    assert np.isfinite(table["p_qso"]).all() and np.isnan(table["z_second"]).all()
    result = fit_redshift_cnn(paths[0], model=number, cross_check=None)
    assert np.isnan(result.p_qso) and result.pdf.sum() == pytest.approx(1)
    assert "z = " in repr(result)


def made_up(z, *, score=8.0, p_qso_logit=5.0, p_second=1e-4):
    """A posterior of one spectrum that says what it is told to say."""
    one = np.ones(1)
    return Posterior(
        step=STEP,
        pdf=np.full((1, 600), 1 / 600),
        z=z * one,
        z_err=0.001 * one,
        z_lo=(z - 0.001) * one,
        z_hi=(z + 0.001) * one,
        score=score * one,
        width=100 * one,
        z_second=0.5 * one,
        p_second=p_second * one,
        p_qso_logit=p_qso_logit * one,
    )


NAMES = {
    "nothing": ((made_up(0.4), made_up(0.4)), RedshiftFlag(0)),
    "confidence": ((made_up(0.4, score=1.0), made_up(0.4)), RedshiftFlag.LOW_CONFIDENCE),
    "runner-up": ((made_up(0.4, p_second=0.6), made_up(0.4)), RedshiftFlag.SMALL_DELTA),
    "perhaps a star": ((made_up(0.4, p_qso_logit=1.0), made_up(0.4)), RedshiftFlag.LOW_CONFIDENCE),
    "star": (
        (made_up(0.4, p_qso_logit=-1.0), made_up(0.4)),
        RedshiftFlag.NOT_QSO | RedshiftFlag.LOW_CONFIDENCE,
    ),
    "disagree": ((made_up(0.4), made_up(0.5)), RedshiftFlag.MODELS_DISAGREE),
    "nearly": ((made_up(0.4), made_up(0.4 + 0.9 * 1.4 * 3000 / C)), RedshiftFlag(0)),
    "hopeless check": ((made_up(0.4), made_up(0.5, score=-2.0)), RedshiftFlag(0)),
    "upper limit": ((made_up(0.6999), made_up(0.6999)), RedshiftFlag.Z_FITLIMIT),
    "lower limit": ((made_up(0.2001), made_up(0.2001)), RedshiftFlag.Z_FITLIMIT),
    "beyond, by the check": (
        (made_up(0.4), made_up(2.0)),
        RedshiftFlag.Z_FITLIMIT | RedshiftFlag.MODELS_DISAGREE,
    ),
    "no check": ((made_up(0.4), None), RedshiftFlag(0)),
    "cannot tell": ((made_up(0.4, p_qso_logit=np.nan, p_second=np.nan), None), RedshiftFlag(0)),
}


@pytest.mark.parametrize("name", NAMES)
def test_rules_of_the_flags(name, tmp_path, paths, monkeypatch):
    (own, other), expected = NAMES[name]
    model = save(tmp_path, "narrow", z_range=(0.2, 0.7))
    check = None if other is None else save(tmp_path, "check", seed=2)
    fitter = Fitter(model, check, "cpu", measure=False)
    said = {"narrow": own, "check": other}
    monkeypatch.setattr(
        "specz_cnn.redshift.fitter._posterior", lambda network, *args, **kwargs: said[network.info.name]
    )
    batch = fitter.fit([prepare(read_arrays(paths[0]), fitter.grid)])
    assert RedshiftFlag(int(batch.columns["flags"][0])) == expected
    # However sure of its lines, a redshift is no more probable to be a quasar's than the spectrum is.
    assert not batch.columns["confidence"][0] > batch.columns["p_qso"][0]


def test_flags_about_the_data(models, paths):
    arrays = read_arrays(paths[0])
    faint = replace(arrays, ivar=(1e-4 * arrays.ivar).astype(np.float32))
    wavelength = 10**arrays.loglam
    short = replace(arrays, ivar=np.where((wavelength > 5000) & (wavelength < 6000), arrays.ivar, 0))
    flat = replace(arrays, flux=np.ones_like(arrays.flux))
    elsewhere = replace(arrays, loglam=arrays.loglam + 1)
    unsorted = replace(arrays, loglam=arrays.loglam[::-1].copy())
    spectra = [arrays, faint, short, flat, elsewhere, unsorted]
    table = fit_redshifts_cnn(spectra, **models)
    about_redshift = RedshiftFlag.SMALL_DELTA | RedshiftFlag.Z_FITLIMIT | RedshiftFlag.MANY_OUTLIERS
    about_data = 0xFFFFFF & ~int(about_redshift) | RedshiftFlag.BAD_INPUT
    expected = [0, RedshiftFlag.POORDATA, RedshiftFlag.LITTLE_COVERAGE, *[RedshiftFlag.NODATA] * 2]
    assert [int(flags) & int(about_data) for flags in table["flags"]] == [*expected, RedshiftFlag.BAD_INPUT]
    assert table["coverage"][2] == pytest.approx(np.log10(6 / 5) / (1212 * 4e-4), abs=0.002)
    assert table["snr"][1] == pytest.approx(0.01 * table["snr"][0], rel=1e-3)
    assert np.isnan(table["z"][3:]).all() and all(table["error"][3:])


def test_provenance_is_plain_text(models, paths):
    result = fit_redshift_cnn(paths[0], **models, device="cpu")
    assert json.loads(json.dumps(result.provenance)) == result.provenance
    assert result.provenance["device"] == "cpu"
    assert result.provenance["package"].startswith("specz-cnn ")
