"""DESI coadds and spectra: three arms, and as many spectra as the file has rows."""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits

from specz_cnn.io.formats.common import FLAM, make_spectrum, native

__all__ = ["join_arms", "matches", "read"]

# Two wavelengths closer than this share of a pixel are the same one, seen by two arms.
_SAME = 0.01


def _arms(hdulist):
    """Arms that have wavelengths, flux and inverse variance, in the order of the file."""
    names = [hdu.name.upper() for hdu in hdulist]
    arms = [name[: -len("_WAVELENGTH")] for name in names if name.endswith("_WAVELENGTH")]
    return [arm for arm in arms if {f"{arm}_FLUX", f"{arm}_IVAR"} <= set(names)]


def matches(hdulist):
    """Whether this is a DESI coadd or spectra file."""
    return bool(_arms(hdulist))


def read(hdulist, path):
    """All spectra of the file, in its order; ``id`` is the TARGETID, or the number of the row where there is none."""
    parts = []
    for arm in _arms(hdulist):
        flux, ivar = (np.atleast_2d(native(hdulist[f"{arm}_{kind}"].data)) for kind in ("FLUX", "IVAR"))
        if f"{arm}_MASK" in hdulist:
            ivar = np.where(np.atleast_2d(hdulist[f"{arm}_MASK"].data) != 0, 0.0, ivar)
        parts.append((native(hdulist[f"{arm}_WAVELENGTH"].data), flux, ivar))
    wavelength, flux, ivar = join_arms(parts)
    identities = _identities(hdulist, len(flux))
    # Wavelengths are those in vacuum (Guy et al. 2023).
    return [
        make_spectrum(wavelength, flux[i], ivar=ivar[i], unit=FLAM, medium="vacuum", meta=identities[i])
        for i in range(len(flux))
    ]


def join_arms(parts):
    """Arms of one instrument as one spectrum; pixels that two arms share become their weighted mean.

    Parameters
    ----------
    parts : list of (wavelength, flux, ivar)
        Shapes (n_pixels,), (n, n_pixels), (n, n_pixels); the wavelengths of the arms may overlap.

    Returns
    -------
    wavelength, flux, ivar : `~numpy.ndarray`
        Ascending, of all arms together; flux is 0 where ``ivar`` is.

    Raises
    ------
    ValueError
        If the arms do not have the same number of spectra.
    """
    if len({flux.shape[0] for _, flux, _ in parts}) > 1:
        raise ValueError("the arms do not have the same number of spectra")
    wavelength = np.concatenate([part[0] for part in parts])
    order = np.argsort(wavelength, kind="stable")
    wavelength = wavelength[order]
    ivar = np.concatenate([part[2] for part in parts], axis=1)[:, order]
    flux = np.concatenate([part[1] for part in parts], axis=1)[:, order]
    good = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
    ivar, flux = np.where(good, ivar, 0.0), np.where(good, flux, 0.0)
    step = np.diff(wavelength)
    first = np.flatnonzero(np.append(True, step > _SAME * np.median(step)))
    weight = np.add.reduceat(ivar, first, axis=1)
    total = np.add.reduceat(ivar * flux, first, axis=1)
    return wavelength[first], np.divide(total, weight, out=np.zeros_like(total), where=weight > 0), weight


def _identities(hdulist, n):
    """Names, positions and pipeline redshifts of the rows."""
    rows = [{"survey": "DESI", "id": f"row {i}"} for i in range(n)]
    columns = _columns(hdulist, "FIBERMAP")
    if len(columns.get("TARGETID", ())) == n:
        for i, row in enumerate(rows):
            row["targetid"] = int(columns["TARGETID"][i])
            row["id"] = str(row["targetid"])
            for key, name in (("ra", "TARGET_RA"), ("dec", "TARGET_DEC")):
                if name in columns:
                    row[key] = float(columns[name][i])
    redshifts = _columns(hdulist, "REDSHIFTS") or _columns(hdulist, "ZBEST")
    found = {int(target): i for i, target in enumerate(redshifts.get("TARGETID", ()))}
    for row in rows:
        place = found.get(row.get("targetid"))
        if place is None:
            continue
        for key, name in (("z", "Z"), ("z_err", "ZERR"), ("zwarning", "ZWARN")):
            if name in redshifts:
                row[key] = redshifts[name][place].item()
        if "SPECTYPE" in redshifts:
            row["class"] = re.sub(r"\W+", "", str(redshifts["SPECTYPE"][place]))
    return rows


def _columns(hdulist, name):
    if name not in hdulist or not isinstance(hdulist[name], fits.BinTableHDU):
        return {}
    hdu = hdulist[name]
    return {column.upper(): hdu.data[column] for column in hdu.columns.names}
