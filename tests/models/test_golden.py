"""Redshifts of the packaged weights that must not change: a tag means the same answer for ever."""

from __future__ import annotations

import pytest

import specz_cnn
from specz_cnn.simulate.parametric import example_spectrum

_C = 299792.458

# Redshift of the simulation: what each set of weights measured when it was packaged.
_SIMULATED = {
    0.4: {"rnet-e-3": 0.39987, "rnet-pz-2": 0.40161, "rnet-2": 0.40136},
    1.2: {"rnet-e-3": 1.19923, "rnet-pz-2": 1.19908, "rnet-2": 1.19726},
    2.4: {"rnet-e-3": 2.40074, "rnet-pz-2": 2.40193, "rnet-2": 2.40056},
    3.5: {"rnet-e-3": 3.50194, "rnet-pz-2": 3.50188, "rnet-2": 3.50819},
    5.2: {"rnet-e-3": 5.20968, "rnet-pz-2": 5.22089, "rnet-2": 5.24591},
    6.4: {"rnet-e-3": 6.41224, "rnet-pz-2": 6.41395, "rnet-2": 6.44737},
}
_REAL = {
    "spec-3655-55240-0002.fits": 2.35257,
    "spec-3655-55240-0026.fits": 2.24159,
    "spec-3655-55240-0030.fits": 2.36449,
    "spec-3655-55240-0054.fits": 0.80233,
    "spec-3655-55240-0066.fits": 0.75525,
    "spec-3655-55240-0070.fits": 2.39241,
}


def _velocity(z, expected):
    return _C * abs(z - expected) / (1 + expected)


@pytest.mark.parametrize("z", _SIMULATED)
@pytest.mark.parametrize("model", ["rnet-e-3", "rnet-pz-2", "rnet-2"])
def test_simulated(model, z):
    spectrum = example_spectrum(z, snr=6.0, seed=int(z * 10))
    result = specz_cnn.fit_redshift_cnn(spectrum, model=model, cross_check=None, measure=False)
    # 5 km/s: rounding above, and the noise and arithmetic of another processor.
    assert _velocity(result.z, _SIMULATED[z][model]) < 5


def test_narrow_range():
    spectrum = example_spectrum(2.9, snr=6.0, seed=29)
    result = specz_cnn.fit_redshift_cnn(spectrum, model="rnet-z2.8-3.0-2", cross_check=None)
    assert _velocity(result.z, 2.90555) < 5


@pytest.mark.parametrize("name", _REAL)
def test_real(name, spectra_dir):
    result = specz_cnn.fit_redshift_cnn(
        spectra_dir / name, model="rnet-e-3", cross_check="rnet-pz-2", measure=False
    )
    assert _velocity(result.z, _REAL[name]) < 5
    assert result.flags == 0


def test_every_name_is_packaged():
    assert set(specz_cnn.list_models()) >= {"rnet-e", "rnet-pz", "rnet", "rnet-z2.8-3.0"}


# Measured by eigenspectra-5 about the peaks of two very different models: of the pipeline's frame and, of the first, systemic.
_MEASURED = {
    "spec-3655-55240-0002.fits": (2.35314, 2.35257),
    "spec-3655-55240-0026.fits": (2.24815, 2.24159),
    "spec-3655-55240-0054.fits": (0.80255, 0.80262),
    "spec-3655-55240-0066.fits": (0.75627, 0.75629),
}
_MEASURED_SIMULATED = {
    0.4: {"rnet-e-3": 0.40030, "pca-1": 0.40038},
    1.2: {"rnet-e-3": 1.19866, "pca-1": 1.19870},
    2.4: {"rnet-e-3": 2.39759, "pca-1": 2.39756},
    3.5: {"rnet-e-3": 3.50087, "pca-1": 3.50090},
}


@pytest.mark.parametrize("name", _MEASURED)
def test_measured(name, spectra_dir):
    result = specz_cnn.fit_redshift_cnn(spectra_dir / name, model="rnet-e-3", cross_check=None)
    assert result.provenance["measurement"] == "eigenspectra-5"
    assert _velocity(result.z, _MEASURED[name][0]) < 5
    assert _velocity(result.z_sys, _MEASURED[name][1]) < 5


@pytest.mark.parametrize("z", _MEASURED_SIMULATED)
@pytest.mark.parametrize("model", ["rnet-e-3", "pca-1"])
def test_measured_simulated(model, z):
    spectrum = example_spectrum(z, snr=6.0, seed=int(z * 10))
    result = specz_cnn.fit_redshift_cnn(spectrum, model=model, cross_check=None)
    assert _velocity(result.z, _MEASURED_SIMULATED[z][model]) < 5
