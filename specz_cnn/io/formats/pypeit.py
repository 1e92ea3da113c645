"""Spectra reduced by PypeIt (X-shooter, DBSP, DEIMOS, GNIRS and many more): spec1d files and coadds."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.io import fits

from specz_cnn.io.formats.common import FLAM, header_position, inverse_variance, make_spectrum, stem

__all__ = ["matches", "read"]

# Flux, what its inverse variance and error are called, and its unit, the best first.
_KINDS = (
    ("FLUX", "IVAR", "SIGMA", FLAM),
    ("OPT_FLAM", "OPT_FLAM_IVAR", "OPT_FLAM_SIG", FLAM),
    ("BOX_FLAM", "BOX_FLAM_IVAR", "BOX_FLAM_SIG", FLAM),
    ("OPT_COUNTS", "OPT_COUNTS_IVAR", "OPT_COUNTS_SIG", u.ct),
    ("BOX_COUNTS", "BOX_COUNTS_IVAR", "BOX_COUNTS_SIG", u.ct),
)


def _names(hdu):
    return {name.upper(): name for name in hdu.columns.names} if isinstance(hdu, fits.BinTableHDU) else {}


def _tables(hdulist):
    """(HDU, its columns, kind) of all spectra in the file."""
    for hdu in hdulist:
        names = _names(hdu)
        for kind in _KINDS:
            flux, ivar, *_ = kind
            wave = flux.partition("_")[0] + "_WAVE" if "_" in flux else "WAVE"
            if {flux, wave, ivar} <= set(names):
                yield hdu, names, (wave, *kind)
                break


def matches(hdulist):
    """Whether PypeIt made this file."""
    header = hdulist[0].header
    ours = any(key in header for key in ("PYPELINE", "PYP_SPEC", "VERSPYP")) or any(
        str(hdu.header.get("DMODCLS", "")) in ("OneSpec", "SpecObj", "OrderStack") for hdu in hdulist
    )
    return ours and any(True for _ in _tables(hdulist))


def read(hdulist, path):
    """All spectra of the file.  The mask is 1 where a pixel is good; wavelengths are PypeIt's default, in vacuum."""
    header = hdulist[0].header
    ra, dec = header_position(header)
    found = list(_tables(hdulist))
    spectra = []
    for hdu, names, (wave, flux, ivar, _, unit) in found:
        mask_name = flux.partition("_")[0] + "_MASK" if "_" in flux else "MASK"
        data = hdu.data
        bad = None if mask_name not in names else np.asarray(data[names[mask_name]]) == 0
        refraction = str(hdu.header.get("VAC_CORR", header.get("VAC_CORR", ""))).lower()
        name = str(header.get("TARGET", "")).strip() or stem(path)
        meta = {
            "survey": str(header.get("INSTRUME", "")).strip() or "PypeIt",
            "id": name if len(found) == 1 else f"{name} {hdu.name}",
            "ra": ra,
            "dec": dec,
            "header": header.copy(),
        }
        spectra.append(
            make_spectrum(
                data[names[wave]],
                data[names[flux]],
                ivar=inverse_variance(ivar=data[names[ivar]]),
                mask=bad,
                unit=unit,
                medium="air" if refraction == "false" else "vacuum",
                meta=meta,
            )
        )
    return spectra
