"""From specutils objects to arrays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty
from specutils import Spectrum, SpectrumCollection, SpectrumList

from specz_cnn import read_arrays, read_spec_lite, write_spec_lite
from specz_cnn.io.convert import arrays_from_spectrum, split_spectrum

WAVELENGTH = np.linspace(4000, 9000, 501)


@pytest.fixture
def path(tmp_path):
    """A file whose AND mask has a harmless bit on every pixel, and some pixels without weight."""
    path = tmp_path / "spec-3586-55181-0076.fits"
    rng = np.random.default_rng(1)
    ivar = np.ones(4000)
    ivar[100:120] = 0
    write_spec_lite(
        path,
        3.57 + 1e-4 * np.arange(4000),
        rng.normal(5, 1, 4000),
        ivar,
        and_mask=np.full(4000, 1 << 4),
        plate=3586,
        mjd=55181,
        fiber=76,
        ra=12.5,
        dec=-3.25,
        z=1.25,
        z_err=0.001,
        zwarning=4,
        spectral_class="QSO",
    )
    return path


def test_as_the_bulk_reader(path):
    from_object, from_file = arrays_from_spectrum(read_spec_lite(path)), read_arrays(path)
    np.testing.assert_allclose(from_object.loglam, from_file.loglam, atol=1e-7)
    np.testing.assert_array_equal(from_object.ivar, from_file.ivar)
    good = from_file.ivar > 0
    np.testing.assert_array_equal(from_object.flux[good], from_file.flux[good])
    assert from_object.identity == from_file.identity


def test_mask_of_the_built_in_loader_is_not_used(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        spectrum = Spectrum.read(path, format="SDSS-III/IV spec")
    assert spectrum.mask.all()
    arrays = arrays_from_spectrum(spectrum)
    np.testing.assert_array_equal(arrays.ivar > 0, read_arrays(path).ivar > 0)
    assert (arrays.plate, arrays.mjd, arrays.fiber) == (3586, 55181, 76)


def test_the_mask_of_any_other_spectrum_is_used(path):
    spectrum = read_spec_lite(path)
    spectrum.mask[1000:2000] = True
    assert not arrays_from_spectrum(spectrum).ivar[1000:2000].any()


@pytest.mark.parametrize(
    ("unit", "power"),
    [
        ("Jy", -2),
        ("Jy / sr", -2),
        ("W / (m2 um)", 0),
        ("W / Hz", -2),
        ("photon / (s cm2 AA)", -1),
        ("photon / (s cm2 Hz)", -3),
        ("adu", 0),
        ("", 0),
        ("erg / (s cm2)", -1),
        ("erg / (s cm2 eV)", -2),
        ("Jy / beam", -2),
    ],
)
def test_shape_of_the_flux(unit, power):
    """A flux that is constant in its own unit has the slope in wavelength that its kind implies."""
    spectrum = Spectrum(
        flux=np.full(501, 2.0) * u.Unit(unit),
        spectral_axis=WAVELENGTH * u.AA,
        uncertainty=StdDevUncertainty(np.full(501, 0.2)),
    )
    arrays = arrays_from_spectrum(spectrum)
    slope = np.log(arrays.flux[-1] / arrays.flux[0]) / np.log(9000 / 4000)
    assert slope == pytest.approx(power, abs=1e-4)
    # The signal-to-noise ratio is that of the input.
    np.testing.assert_allclose(arrays.flux * np.sqrt(arrays.ivar), 10, rtol=1e-5)


def test_many_dimensions():
    flux = np.arange(6 * 501).reshape(2, 3, 501) * u.Jy
    error = 1 + np.arange(6).reshape(2, 3, 1) * np.ones(501)
    mask = np.zeros((2, 3, 501), bool)
    mask[1, 2] = True
    spectrum = Spectrum(
        flux=flux,
        spectral_axis=WAVELENGTH * u.AA,
        uncertainty=StdDevUncertainty(error),
        mask=mask,
        meta={"plate": [1, 2, 3, 4, 5, 6], "mjd": 55181},
    )
    parts = list(split_spectrum(spectrum))
    assert len(parts) == 6
    np.testing.assert_array_equal(parts[4].flux, flux[1, 1])
    np.testing.assert_array_equal(parts[4].uncertainty.array, error[1, 1])
    assert parts[5].mask.all() and not parts[4].mask.any()
    assert [part.meta["plate"] for part in parts] == [1, 2, 3, 4, 5, 6]
    assert arrays_from_spectrum(parts[0]).mjd == 55181


def test_spectral_axis_that_is_not_the_last():
    flux = np.arange(3 * 501.0).reshape(501, 3)
    spectrum = Spectrum(flux=flux * u.Jy, spectral_axis=WAVELENGTH * u.AA, spectral_axis_index=0)
    parts = list(split_spectrum(spectrum))
    assert len(parts) == 3
    np.testing.assert_array_equal(parts[1].flux.value, flux[:, 1])


def test_collections_and_nested_lists():
    axis = np.stack([WAVELENGTH, WAVELENGTH + 10]) * u.AA
    collection = SpectrumCollection(
        flux=np.ones((2, 501)) * u.Jy, spectral_axis=axis, uncertainty=InverseVariance(np.ones((2, 501)))
    )
    single = Spectrum(flux=np.ones(501) * u.Jy, spectral_axis=WAVELENGTH * u.AA)
    parts = list(split_spectrum(SpectrumList([single, collection, single])))
    assert [part.spectral_axis[0].value for part in parts] == [4000, 4000, 4010, 4000]


@pytest.mark.parametrize("meta", [None, {}, {"plate": None, "ra": "north", "header": 3, "z": None}])
def test_meta_that_knows_nothing(meta):
    spectrum = Spectrum(flux=np.ones(501) * u.Jy, spectral_axis=WAVELENGTH * u.AA, meta=meta)
    arrays = arrays_from_spectrum(spectrum)
    assert arrays.plate == -1 and np.isnan(arrays.ra) and np.isnan(arrays.z_pipe)
