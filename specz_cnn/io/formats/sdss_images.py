"""SDSS spectra as images: spSpec files of SDSS-I/II, and BOSS spectra cut out of a plate file.

specutils has a reader for spSpec, whose wavelengths are those of the next pixel (69 km/s too long in version 2.4: the
reference pixel of the header, 1, is taken for 0).
"""

from __future__ import annotations

import numpy as np

from specz_cnn.io.convert import medium_of_header
from specz_cnn.io.formats.common import (
    FLAM,
    flux_unit,
    header_position,
    inverse_variance,
    make_spectrum,
    stem,
)
from specz_cnn.io.names import spec_name

__all__ = ["matches", "matches_spspec", "read", "read_spspec"]

_SPEC_CLASSES = {1: "STAR", 2: "GALAXY", 3: "QSO", 4: "QSO", 6: "STAR"}


def matches_spspec(hdulist):
    """Whether this is an spSpec file: five rows, the third of them the error."""
    header = hdulist[0].header
    wanted = ("COEFF0", "COEFF1", "PLATEID", "FIBERID", "SPEC_CLN")
    return (
        "SDSS" in str(header.get("TELESCOP", ""))
        and header.get("NAXIS") == 2
        and all(k in header for k in wanted)
    )


def read_spspec(hdulist, path):
    """Its spectrum, in a list.  The error is zero for bad pixels, which is the survey's rule."""
    header, data = hdulist[0].header, hdulist[0].data
    loglam = header["COEFF0"] + header["COEFF1"] * np.arange(data.shape[1])
    numbers = [header.get(key, -1) for key in ("PLATEID", "MJD", "FIBERID")]
    ra, dec = header_position(header, ("RAOBJ",), ("DECOBJ",))
    meta = {
        "survey": "SDSS",
        **dict(zip(("plate", "mjd", "fiber"), numbers, strict=True)),
        "id": spec_name(*numbers) if min(numbers) > 0 else stem(path),
        "ra": ra,
        "dec": dec,
        "z": header.get("Z"),
        "z_err": header.get("Z_ERR"),
        "class": _SPEC_CLASSES.get(header["SPEC_CLN"]),
        "header": header.copy(),
    }
    return [
        make_spectrum(
            10.0**loglam,
            data[0],
            ivar=inverse_variance(sigma=data[2]),
            unit=flux_unit(header, FLAM),
            medium=medium_of_header(header) or "vacuum",
            meta=meta,
        )
    ]


def _images(hdulist):
    """One-dimensional images as long as the first one, with their HDU."""
    n = hdulist[0].header.get("NAXIS1")
    return [h for h in hdulist if h.is_image and h.header.get("NAXIS") == 1 and h.header.get("NAXIS1") == n]


def matches(hdulist):
    """Whether the first image is the flux of an SDSS spectrum and the third its log10 of the wavelength."""
    if "SDSS" not in str(hdulist[0].header.get("TELESCOP", "")) or hdulist[0].header.get("NAXIS") != 1:
        return False
    images = _images(hdulist)
    return len(images) >= 3 and _is_loglam(images[2].data)


def _is_loglam(values):
    values = np.asarray(values, dtype=np.float64)
    return bool(values.min() > 3 and values.max() < 5 and (np.diff(values) > 0).all())


def read(hdulist, path):
    """Its spectrum, in a list.  RA and DEC of the header are the telescope's, and not taken."""
    header = hdulist[0].header
    images = _images(hdulist)
    plate, mjd, fiber = (header.get(key, -1) for key in ("PLATEID", "MJD", "FIBERID"))
    meta = {
        "survey": "SDSS",
        "plate": plate if plate > 0 else None,
        "mjd": mjd if mjd > 0 else None,
        "fiber": fiber if fiber > 0 else None,
        "id": spec_name(plate, mjd, fiber) if min(plate, mjd, fiber) > 0 else stem(path),
        "header": header.copy(),
    }
    return [
        make_spectrum(
            10.0 ** np.asarray(images[2].data, dtype=np.float64),
            images[0].data,
            ivar=inverse_variance(ivar=images[1].data),
            unit=flux_unit(header, FLAM),
            medium=medium_of_header(header) or "vacuum",
            meta=meta,
        )
    ]
