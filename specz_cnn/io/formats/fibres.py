"""Fibre spectra of the Anglo-Australian Observatory: 2dF/AAOmega as 2dfdr reduces it, and the 6dF Galaxy Survey."""

from __future__ import annotations

import re

import numpy as np
from astropy import units as u
from astropy.io import fits

from specz_cnn.io.formats.common import flux_unit, inverse_variance, linear_axis, make_spectrum, stem

__all__ = ["matches_6df", "matches_aaomega", "read_6df", "read_aaomega"]


def matches_aaomega(hdulist):
    """Whether this is a file of 2dfdr: an image of spectra, and their variance."""
    header = hdulist[0].header
    names = {hdu.name.upper() for hdu in hdulist}
    return header.get("NAXIS") in (1, 2) and {"VARIANCE", "FIBRES"} <= names


def read_aaomega(hdulist, path):
    """All fibres that were on an object (type P, if the file tells), or all where it does not tell.

    Wavelengths are in air, as 2dfdr's arc lines are.  Positions of the fibre table are in radians.
    """
    header = hdulist[0].header
    flux = np.atleast_2d(hdulist[0].data)
    variance = np.atleast_2d(hdulist["VARIANCE"].data)
    wavelength, unit = linear_axis(header, flux.shape[1])
    fibres = hdulist["FIBRES"].data if isinstance(hdulist["FIBRES"], fits.BinTableHDU) else None
    told = fibres is not None and len(fibres) == len(flux) and "TYPE" in fibres.names
    spectra = []
    for i in range(len(flux)):
        meta = {"survey": "AAOmega", "id": f"{stem(path)} fibre {i + 1}" if len(flux) > 1 else stem(path)}
        if told:
            if str(fibres["TYPE"][i]).strip() not in ("P", ""):
                continue
            meta["id"] = str(fibres["NAME"][i]).strip() or meta["id"]
            meta["ra"], meta["dec"] = (float(np.degrees(fibres[name][i])) for name in ("RA", "DEC"))
        meta["header"] = header.copy()
        spectra.append(
            make_spectrum(
                wavelength,
                flux[i],
                ivar=inverse_variance(variance=variance[i]),
                unit=flux_unit(header, u.ct),
                axis=unit or u.AA,
                medium="air",
                meta=meta,
            )
        )
    return spectra


def _6df_spectra(hdulist):
    """HDUs that hold spectra of 6dF: rows are flux, variance, sky, and in some wavelength."""
    return [
        hdu
        for hdu in hdulist
        if hdu.is_image
        and hdu.header.get("NAXIS") == 2
        and hdu.header.get("NAXIS2") in (3, 4)
        and all(key in hdu.header for key in ("OBSRA", "OBSDEC", "Z_HELIO", "QUALITY"))
    ]


def matches_6df(hdulist):
    """Whether this is a file of the 6dF Galaxy Survey with one spectrum, or with its two arms and their combination."""
    return bool(_6df_spectra(hdulist))


def read_6df(hdulist, path):
    """The spectrum of both arms together (the last HDU, SPECTRUM VR) where there is one."""
    hdus = _6df_spectra(hdulist)
    hdu = next((hdu for hdu in hdus if re.search(r"\bVR\b", hdu.name)), hdus[-1])
    header, data = hdu.header, hdu.data
    wavelength, unit = linear_axis(header, data.shape[1])
    meta = {
        "survey": "6dFGS",
        "id": str(header.get("TARGET", "")).strip() or stem(path),
        "ra": header["OBSRA"],
        "dec": header["OBSDEC"],
        "z": header.get("Z_HELIO", header.get("Z")),
        "header": header.copy(),
    }
    return [
        make_spectrum(
            wavelength,
            data[0],
            ivar=inverse_variance(variance=data[1]),
            unit=flux_unit(header, u.ct),
            axis=unit or u.AA,
            medium="air",  # the arc lines of 6dFGS are those in air
            meta=meta,
        )
    ]
