"""Spectra as images whose header gives the wavelengths: IRAF's bands, and any one-dimensional image."""

from __future__ import annotations

import re

import numpy as np
from astropy import units as u

from specz_cnn.io.convert import medium_of_header
from specz_cnn.io.formats.columns import split_units
from specz_cnn.io.formats.common import (
    flux_unit,
    header_position,
    inverse_variance,
    linear_axis,
    make_spectrum,
    stem,
)
from specz_cnn.io.units import parse_axis_unit, parse_flux_unit

__all__ = ["matches", "matches_bands", "read", "read_bands"]

# What companions of a flux are called: name of the argument of inverse_variance.
_COMPANIONS = {
    "sigma": (
        "ERR",
        "ERROR",
        "ERRS",
        "ERRORS",
        "SIGMA",
        "SIG",
        "NOISE",
        "STDDEV",
        "UNCERT",
        "UNCERTAINTY",
        "STD",
    ),
    "variance": ("VAR", "VARIANCE", "STAT"),
    "ivar": ("IVAR", "INVVAR", "INVERSE VARIANCE"),
}


def _bands(header):
    """What the bands of an IRAF multispec image are, by number from 0."""
    found = {}
    for key in header:
        if match := re.fullmatch(r"BANDID(\d+)", key):
            found[int(match[1]) - 1] = str(header[key]).lower()
    return found


def matches_bands(hdulist):
    """Whether this is an IRAF image with bands: the spectrum, the raw one, background and sigma."""
    header = hdulist[0].header
    return header.get("NAXIS") == 3 and bool(_bands(header))


def read_bands(hdulist, path, *, unit=()):
    """The spectra (first band) of all apertures with their sigma."""
    header = hdulist[0].header
    data = hdulist[0].data
    bands = _bands(header)
    sigma = next((i for i, text in bands.items() if text.startswith("sigma") and i < len(data)), None)
    n = data.shape[1]
    return [
        _spectrum(
            header,
            data[0, row],
            path if n == 1 else f"{stem(path)} aperture {row + 1}",
            unit,
            sigma=None if sigma is None else data[sigma, row],
        )
        for row in range(n)
    ]


def _flat(hdu):
    """The data of an image as one or more rows, or None."""
    if not hdu.is_image or not hdu.header.get("NAXIS"):
        return None
    shape = [hdu.header.get(f"NAXIS{axis}", 0) for axis in range(hdu.header["NAXIS"], 0, -1)]
    if len(shape) > 2 and any(size != 1 for size in shape[:-2]):
        return None
    return shape


def _first(hdulist):
    """The first image that is a spectrum or a stack of them, and has wavelengths in its header or that of the file."""
    for hdu in hdulist:
        shape = _flat(hdu)
        if shape is None or shape[-1] < 2:
            continue
        rows = int(np.prod(shape[:-1]))
        if rows > _MOST_ROWS:
            continue
        for header in (hdu.header, hdulist[0].header):
            try:
                linear_axis(header, 2)
            except ValueError:
                continue
            if "RA---" not in str(header.get("CTYPE1", "")) and "GLON" not in str(header.get("CTYPE1", "")):
                return hdu, header
    return None


_MOST_ROWS = 1000  # an image with more is a picture


def matches(hdulist):
    """Whether there is an image whose header gives wavelengths."""
    return _first(hdulist) is not None


def read(hdulist, path, *, unit=()):
    """The spectra of the first such image, with the error from a companion of the same size by its name."""
    hdu, header = _first(hdulist)
    flux = np.atleast_2d(np.squeeze(hdu.data))
    errors = {}
    for other in hdulist:
        shape = _flat(other)
        if other is hdu or shape is None or int(np.prod(shape)) != flux.size:
            continue
        for kind, names in _COMPANIONS.items():
            if other.name.strip().upper() in names:
                errors.setdefault(kind, np.atleast_2d(np.squeeze(other.data)))
    return [
        _spectrum(
            header,
            flux[row],
            path if len(flux) == 1 else f"{stem(path)} row {row + 1}",
            unit,
            **{kind: values[row] for kind, values in errors.items()},
        )
        for row in range(len(flux))
    ]


def _spectrum(header, flux, name, stated, **errors):
    wavelength, unit = linear_axis(header, len(flux))
    axis, flux_text = split_units(stated)
    if axis:
        unit, log = parse_axis_unit(axis)
        wavelength = 10.0**wavelength if log else wavelength
    ra, dec = header_position(header)
    meta = {
        "survey": " ".join(str(header.get(key, "")).strip() for key in ("TELESCOP", "INSTRUME")).strip(),
        "id": stem(name),
        "object": str(header.get("OBJECT", "")).strip(),
        "ra": ra,
        "dec": dec,
        "header": header.copy(),
    }
    return make_spectrum(
        wavelength,
        flux,
        ivar=inverse_variance(**errors) if errors else None,
        unit=parse_flux_unit(flux_text) if flux_text else flux_unit(header),
        axis=unit or _guess(wavelength),
        medium=medium_of_header(header),
        meta=meta,
    )


def _guess(wavelength):
    """Angstrom, if the numbers can be optical wavelengths in Angstrom."""
    middle = float(np.median(wavelength))
    if 1000 <= middle <= 30000:
        return u.AA
    raise ValueError(
        f"wavelengths from {wavelength[0]:g} to {wavelength[-1]:g} without a unit; say which (--unit, unit=)"
    )
