from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_codec import decode_spectrum

from specz_cnn.report.encoding import encode_pdf, encode_spectrum


def lattice_spectrum(n=300, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    loglam = 1e-4 * (35500 + np.arange(n))
    error = scale * rng.uniform(0.2, 3, n)
    flux = scale * rng.normal(2, 4, n)
    return loglam, flux.astype(np.float32), (1 / error**2).astype(np.float32)


@given(scale=st.floats(1e-8, 1e8), seed=st.integers(0, 1000))
def test_precision(scale, seed):
    loglam, flux, ivar = lattice_spectrum(scale=scale, seed=seed)
    decoded_loglam, decoded_flux, decoded_error = decode_spectrum(encode_spectrum(loglam, flux, ivar))
    error = 1 / np.sqrt(ivar.astype(float))
    assert np.allclose(decoded_loglam, loglam, atol=1e-9)
    assert np.allclose(decoded_error, error, rtol=0.023)
    assert np.all(np.abs(decoded_flux - flux) < 0.07 * error + 1e-5 * np.abs(flux))


def test_pixels_without_data_at_the_ends_are_cut_and_inside_are_marked():
    loglam, flux, ivar = lattice_spectrum()
    ivar[:10] = ivar[-20:] = ivar[100:105] = 0
    flux[120] = np.nan
    decoded_loglam, decoded_flux, error = decode_spectrum(encode_spectrum(loglam, flux, ivar))
    assert decoded_loglam.size == 270
    assert decoded_loglam[0] == pytest.approx(loglam[10])
    assert np.flatnonzero(np.isnan(error)).tolist() == [90, 91, 92, 93, 94, 110]
    assert np.all(decoded_flux[90:95] == 0)


def test_spectrum_without_data_is_none():
    loglam, flux, ivar = lattice_spectrum()
    assert encode_spectrum(loglam, flux, 0 * ivar) is None
    assert encode_spectrum(loglam[:0], flux[:0], ivar[:0]) is None


def test_enormous_signal_to_noise_does_not_overflow():
    loglam, flux, ivar = lattice_spectrum()
    flux = np.full_like(flux, 1e6)
    decoded = decode_spectrum(encode_spectrum(loglam, flux, ivar))[1]
    assert np.allclose(decoded, flux, rtol=1e-3)


def test_other_sampling_is_brought_to_the_lattice():
    wavelength = np.arange(3600.0, 3900.0, 0.8)
    flux, ivar = np.full(wavelength.size, 3.0), np.full(wavelength.size, 4.0)
    loglam, decoded, _ = decode_spectrum(encode_spectrum(np.log10(wavelength), flux, ivar))
    assert np.allclose(np.diff(loglam), 1e-4)
    assert np.allclose(decoded[1:-1], 3.0, atol=0.05)


def test_pdf_codes():
    pdf = np.array([0.0, 1e-7, 1e-6, 1e-3, 0.1, 0.899])
    codes = zlib.decompress(base64.b64decode(encode_pdf(pdf)))
    assert list(codes) == [0, 0, 0, 60, 100, 119]
    assert encode_pdf([np.nan, 0.5]) is None
    assert encode_pdf([]) is None


def test_real_spectra_need_few_bytes(spectrum_paths):
    from specz_cnn import read_arrays

    spectra = [read_arrays(path) for path in spectrum_paths[::40]]
    packed = [encode_spectrum(s.loglam, s.flux, s.ivar) for s in spectra]
    assert sum(len(p["data"]) for p in packed if p) < 2.0 * sum(p["n"] for p in packed if p)
