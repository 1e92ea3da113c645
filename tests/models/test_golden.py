"""Redshifts of the packaged weights that must not change: a tag means the same answer for ever."""

from __future__ import annotations

import pytest

import specz_cnn
from specz_cnn.simulate.parametric import example_spectrum

_C = 299792.458

# Redshift of the simulation: what each set of weights measured when it was packaged.
_SIMULATED = {
    0.4: {"rnet-e-6": 0.40030, "rnet-pz-4": 0.40039, "rnet-4": 0.40316},
    1.2: {"rnet-e-6": 1.19942, "rnet-pz-4": 1.20004, "rnet-4": 1.19924},
    2.4: {"rnet-e-6": 2.39978, "rnet-pz-4": 2.40077, "rnet-4": 2.40371},
    3.5: {"rnet-e-6": 3.50023, "rnet-pz-4": 3.50281, "rnet-4": 3.49899},
    5.2: {"rnet-e-6": 5.20667, "rnet-pz-4": 5.21119, "rnet-4": 5.20656},
    6.4: {"rnet-e-6": 6.40758, "rnet-pz-4": 6.40962, "rnet-4": 6.44737},
}
_REAL = {
    "spec-3655-55240-0002.fits": 2.35218,
    "spec-3655-55240-0026.fits": 2.24070,
    "spec-3655-55240-0030.fits": 2.36528,
    "spec-3655-55240-0054.fits": 0.80242,
    "spec-3655-55240-0066.fits": 0.75556,
    "spec-3655-55240-0070.fits": 2.39228,
}


def _velocity(z, expected):
    return _C * abs(z - expected) / (1 + expected)


@pytest.mark.parametrize("z", _SIMULATED)
@pytest.mark.parametrize("model", ["rnet-e-6", "rnet-pz-4", "rnet-4"])
def test_simulated(model, z):
    spectrum = example_spectrum(z, snr=6.0, seed=int(z * 10))
    result = specz_cnn.fit_redshift_cnn(spectrum, model=model, cross_check=None, measure=False)
    # 5 km/s: rounding above, and the noise and arithmetic of another processor.
    assert _velocity(result.z, _SIMULATED[z][model]) < 5


def test_narrow_range():
    spectrum = example_spectrum(2.9, snr=6.0, seed=29)
    result = specz_cnn.fit_redshift_cnn(spectrum, model="rnet-z2.8-3.0-3", cross_check=None)
    assert _velocity(result.z, 2.90534) < 5


@pytest.mark.parametrize("name", _REAL)
def test_real(name, spectra_dir):
    result = specz_cnn.fit_redshift_cnn(
        spectra_dir / name, model="rnet-e-6", cross_check="rnet-pz-4", measure=False
    )
    assert _velocity(result.z, _REAL[name]) < 5
    assert result.flags == 0


def test_every_name_is_packaged():
    assert set(specz_cnn.list_models()) >= {"rnet-e", "rnet-pz", "rnet", "rnet-z2.8-3.0"}


# Measured by eigenspectra-7 about the peaks of two very different models: of the pipeline's frame and, of the first, systemic.
_MEASURED = {
    "spec-3655-55240-0002.fits": (2.35312, 2.35218),
    "spec-3655-55240-0026.fits": (2.24804, 2.24070),
    "spec-3655-55240-0054.fits": (0.80256, 0.80264),
    "spec-3655-55240-0066.fits": (0.75631, 0.75634),
}
_MEASURED_SIMULATED = {
    0.4: {"rnet-e-6": 0.40045, "pca-1": 0.40038},
    1.2: {"rnet-e-6": 1.19872, "pca-1": 1.19870},
    2.4: {"rnet-e-6": 2.39750, "pca-1": 2.39756},
    3.5: {"rnet-e-6": 3.50081, "pca-1": 3.50092},
}


@pytest.mark.parametrize("name", _MEASURED)
def test_measured(name, spectra_dir):
    result = specz_cnn.fit_redshift_cnn(spectra_dir / name, model="rnet-e-6", cross_check=None)
    assert result.provenance["measurement"] == "eigenspectra-7"
    assert _velocity(result.z, _MEASURED[name][0]) < 5
    assert _velocity(result.z_sys, _MEASURED[name][1]) < 5


@pytest.mark.parametrize("z", _MEASURED_SIMULATED)
@pytest.mark.parametrize("model", ["rnet-e-6", "pca-1"])
def test_measured_simulated(model, z):
    spectrum = example_spectrum(z, snr=6.0, seed=int(z * 10))
    result = specz_cnn.fit_redshift_cnn(spectrum, model=model, cross_check=None)
    assert _velocity(result.z, _MEASURED_SIMULATED[z][model]) < 5
