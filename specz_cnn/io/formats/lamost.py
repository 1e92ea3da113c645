"""LAMOST low resolution spectra: an image of five rows, or since DR8 v2 a table of one row with arrays."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.io import fits

from specz_cnn.io.convert import medium_of_header
from specz_cnn.io.formats.common import header_position, inverse_variance, make_spectrum, stem

__all__ = ["matches", "read"]


def matches(hdulist):
    """Whether this is a spectrum of LAMOST."""
    header = hdulist[0].header
    if "LAMOST" not in f"{header.get('TELESCOP', '')} {header.get('ORIGIN', '')} {header.get('DATA_V', '')}":
        return False
    return _is_image(hdulist[0]) or (len(hdulist) > 1 and _is_table(hdulist[1]))


def _is_image(hdu):
    return hdu.header.get("NAXIS") == 2 and hdu.header.get("NAXIS2", 0) >= 3


def _is_table(hdu):
    return isinstance(hdu, fits.BinTableHDU) and {"FLUX", "WAVELENGTH"} <= {
        n.upper() for n in hdu.columns.names
    }


def read(hdulist, path):
    """Its spectrum, in a list.  The flux is relative; the inverse variance, zero for bad pixels, is the survey's rule."""
    header = hdulist[0].header
    if _is_image(hdulist[0]):
        flux, ivar, wavelength = hdulist[0].data[:3]
    else:
        data = hdulist[1].data
        names = {name.upper(): name for name in hdulist[1].columns.names}
        flux, wavelength = (np.ravel(data[names[name]]) for name in ("FLUX", "WAVELENGTH"))
        ivar = np.ravel(data[names["IVAR"]]) if "IVAR" in names else None
    ra, dec = header_position(header)
    meta = {
        "survey": "LAMOST",
        "id": str(header.get("OBSID", "")) or stem(path),
        "mjd": header.get("MJD"),
        "ra": ra,
        "dec": dec,
        "class": header.get("CLASS"),
        "subclass": header.get("SUBCLASS"),
        "z": header.get("Z"),
        "z_err": header.get("Z_ERR"),
        "header": header.copy(),
    }
    medium = medium_of_header(header) or "vacuum"  # in vacuum since DR1
    return [
        make_spectrum(
            wavelength, flux, ivar=inverse_variance(ivar=ivar), unit=u.one, medium=medium, meta=meta
        )
    ]
