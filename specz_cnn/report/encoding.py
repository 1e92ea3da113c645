"""Spectra and probabilities as few bytes as the eye needs.

A pixel's error is kept in steps of 1/16 of a power of two (4 %), its flux in steps of 1/8 of that error. The numbers
are then mostly noise of a few bits, which deflate stores in about 1.3 bytes per pixel at the full SDSS resolution, against
8 bytes of two single-precision numbers. The page undoes this in ``assets/codec.js``.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np

from specz_cnn.io.grid import LATTICE_STEP, ModelGrid

__all__ = ["encode_pdf", "encode_rows", "encode_spectrum"]

#: Code of a pixel without data; smaller codes are errors.
NO_DATA = 255

_CODES_PER_OCTAVE = 16
_FLUX_STEPS_PER_SIGMA = 8
_MAX_FLUX_CODE = 32767

# Probabilities are kept in twentieths of a decade down to 1e-6; code 0 stands for anything below.
_PDF_CODES_PER_DECADE = 20
_PDF_DECADES = 6


def encode_spectrum(loglam, flux, ivar):
    """Pack a spectrum for the page.

    Spectra off the SDSS lattice of 1e-4 in log10(wavelength) are rebinned to it.

    Parameters
    ----------
    loglam : array_like, shape (n,)
        log10 of the vacuum wavelength in Angstrom, ascending.
    flux, ivar : array_like, shape (n,)
        Flux and inverse variance; ``ivar = 0`` means no data.

    Returns
    -------
    dict or None
        ``start`` (lattice index of the first pixel), ``n`` (pixels), ``sigma`` (the smallest error), ``step`` (flux step in
        units of the error) and ``data`` (base64 of deflated codes); None if no pixel has data.
    """
    good = np.flatnonzero((np.asarray(ivar) > 0) & np.isfinite(ivar) & np.isfinite(flux))
    if good.size == 0:
        return None
    loglam = np.asarray(loglam, dtype=np.float64)
    start = int(np.rint(loglam[good[0]] / LATTICE_STEP))
    n_pixels = int(np.rint(loglam[good[-1]] / LATTICE_STEP)) - start + 1
    flux, ivar = ModelGrid(start, 1, n_pixels).rebin(loglam, flux, ivar)
    good = ivar > 0
    error = 1 / np.sqrt(ivar, where=good, out=np.full(n_pixels, np.nan))
    smallest = float(np.nanmin(error))
    codes = np.full(n_pixels, NO_DATA, np.uint8)
    codes[good] = np.clip(np.rint(_CODES_PER_OCTAVE * np.log2(error[good] / smallest)), 0, NO_DATA - 1)
    unit = smallest * 2.0 ** (codes / _CODES_PER_OCTAVE)
    ratio = np.where(good, flux / unit, 0.0)
    step = max(1 / _FLUX_STEPS_PER_SIGMA, float(np.abs(ratio).max()) / _MAX_FLUX_CODE)
    levels = np.rint(ratio / step).astype("<i2")
    # Bytes of the same kind side by side, and the smooth error as differences, compress best.
    planes = [np.diff(codes, prepend=np.uint8(0)).tobytes(), levels.view(np.uint8).reshape(-1, 2).T.tobytes()]
    data = base64.b64encode(zlib.compress(b"".join(planes), 9)).decode("ascii")
    return {"start": start, "n": n_pixels, "sigma": _short(smallest), "step": _short(step), "data": data}


def encode_pdf(pdf):
    """Pack the probabilities of one spectrum for the page.

    Parameters
    ----------
    pdf : array_like, shape (K,)
        Probability per bin.

    Returns
    -------
    str or None
        Base64 of one deflated byte per bin, twentieths of a decade above 1e-6; None if the probabilities are not finite.
    """
    pdf = np.asarray(pdf, dtype=np.float64)
    if pdf.size == 0 or not np.isfinite(pdf).all():
        return None
    decades = np.log10(np.maximum(pdf, 10.0**-_PDF_DECADES)) + _PDF_DECADES
    codes = np.clip(np.rint(_PDF_CODES_PER_DECADE * decades), 0, 255).astype(np.uint8)
    return base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode("ascii")


def encode_rows(rows):
    """Pack rows of numbers for the page.

    Parameters
    ----------
    rows : array_like, shape (count, n)

    Returns
    -------
    dict
        ``count``, ``n``, ``scale`` (of each row) and ``data`` (base64 of deflated little-endian 16-bit integers).
    """
    rows = np.asarray(rows, dtype=np.float64)
    scale = np.maximum(np.abs(rows).max(1), 1e-30) / _MAX_FLUX_CODE
    codes = np.rint(rows / scale[:, None]).astype("<i2")
    data = base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode("ascii")
    return {"count": len(rows), "n": rows.shape[1], "scale": [_short(value) for value in scale], "data": data}


def _short(number):
    """Six digits are enough for scales, and shorter in the page."""
    return float(f"{number:.6g}")
