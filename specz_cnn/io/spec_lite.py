"""The specutils loader "SDSS spec-lite"."""

from __future__ import annotations

import re
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.io import registry
from astropy.nddata import InverseVariance
from specutils import Spectrum, SpectrumList
from specutils.io.default_loaders.sdss import spec_identify
from specutils.io.default_loaders.tabular_fits import identify_tabular_fits
from specutils.io.registers import data_loader

from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.io.formats.claims import being_asked, claims, others_claim
from specz_cnn.io.layout import (
    COADD_COLUMNS,
    FORMAT,
    identity_from,
    open_spec_lite,
    read_columns,
    read_first_headers,
    read_specobj,
)

if TYPE_CHECKING:
    from typing import Any

    from specz_cnn.io.bitmask import MaskPolicy

__all__ = ["FORMAT", "prefer_spec_lite_loader", "read_spec_lite"]

# Built-in loaders that claim spec-lite files: the first reads them without the catalogue row and with too strict a
# mask, the second claims every FITS table and then fails for want of units.
_BUILT_IN = {"SDSS-III/IV spec": spec_identify, "tabular-fits": identify_tabular_fits}

_EXTRA_COLUMNS = ("and_mask", "or_mask", "wdisp", "sky", "model")

_preferred = False


def _is_spec_lite(origin, path, fileobj, *args, **kwargs):
    """Whether HDU 1 of what is to be read looks like a coadded SDSS spectrum."""
    if origin != "read":
        return False
    source = args[0] if args else (fileobj if fileobj is not None else path)
    try:
        headers = read_first_headers(source, 2)
    finally:
        if hasattr(source, "seek"):
            source.seek(0)
    if len(headers) < 2 or str(headers[1].get("XTENSION", "")).strip() not in ("BINTABLE", "A3DTABLE"):
        return False
    return set(COADD_COLUMNS) <= {str(name).strip().lower() for name in headers[1]["TTYPE*"].values()}


def _identify(origin, *args, **kwargs):
    """Claim a spec-lite file only if no other loader does, or if ours has been preferred."""
    if being_asked() or not _is_spec_lite(origin, *args, **kwargs):
        return False
    if _preferred:
        return True
    if claims(spec_identify, origin, *args, **kwargs):  # the usual case, without asking dozens of loaders
        return False
    return not others_claim(origin, args, kwargs)


@data_loader(FORMAT, identifier=_identify, dtype=Spectrum, extensions=["fits"], priority=11, force=True)
def _load(file_obj, *, mask="default", **kwargs):
    """Loader for SDSS spec and spec-lite files of every reduction; see `specz_cnn.read_spec_lite`."""
    with open_spec_lite(file_obj) as hdulist:
        path = file_obj if isinstance(file_obj, str | PathLike) else hdulist.filename() or "<open file>"
        columns = read_columns(hdulist, path)
        row = read_specobj(hdulist, path)
        header = hdulist[0].header.copy()
    return _make_spectrum(path, columns, row, header, mask)


def read_spec_lite(path: Any, *, mask: MaskPolicy | int = "default") -> Spectrum:
    """Read an SDSS spec or spec-lite file, of the legacy survey, BOSS or eBOSS.

    The same as ``Spectrum.read(path, format="SDSS spec-lite", mask=mask)``.

    Parameters
    ----------
    path : path-like, file-like or `~astropy.io.fits.HDUList`
        File to read.
    mask : {"ivar", "default", "hard"} or int
        Which pixels to mask, see :func:`~specz_cnn.io.bad_pixels`.

    Returns
    -------
    `~specutils.Spectrum`
        Flux in 1e-17 erg / (s cm2 Angstrom) on observed vacuum wavelengths in Angstrom (float64), with inverse
        variance and mask.  ``meta`` holds ``plate, mjd, fiber, run2d, specobjid, ra, dec`` (degrees); the result of
        the survey's pipeline ``class, subclass, z, z_err, zwarning``; ``sn_median`` (median signal-to-noise per
        pixel); the arrays ``and_mask, or_mask, wdisp`` (pixels), ``sky`` and ``model`` (in units of the flux);
        ``header``, the primary header, and ``file``.  What the file does not know is left out of ``meta``.  The
        pipeline's redshift is not attached to the spectral axis.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        If the file is damaged or no spec-lite file.
    ValueError
        If there is no such mask policy.
    """
    return Spectrum.read(path, format=FORMAT, mask=mask)


def _make_spectrum(path, columns, row, header, mask):
    flux, ivar = columns["flux"], columns["ivar"]
    unit = _flux_unit(header.get("BUNIT", ""))
    return Spectrum(
        flux=u.Quantity(flux, unit, copy=False),
        spectral_axis=10.0 ** columns["loglam"].astype(np.float64) * u.AA,
        uncertainty=InverseVariance(ivar, unit=unit**-2),
        mask=bad_pixels(flux, ivar, columns.get("and_mask"), policy=mask),
        meta=_make_meta(path, columns, row, header),
    )


def _make_meta(path, columns, row, header):
    """The meta of a spectrum: what the file knows, under one set of names for all reductions."""
    identity = identity_from(path, header, row)
    known = {name: identity[name] for name in ("plate", "mjd", "fiber") if identity[name] >= 0}
    known |= {name: identity[name] for name in ("ra", "dec") if np.isfinite(identity[name])}
    known |= {name: row[name] for name in ("class", "subclass", "z", "z_err", "zwarning") if name in row}
    run2d = str(row.get("run2d", header.get("RUN2D", ""))).strip()
    if run2d:
        known["run2d"] = run2d
    specobjid = _specobjid(row.get("specobjid", header.get("SPEC_ID")))
    if specobjid is not None:
        known["specobjid"] = specobjid
    if "sn_median_all" in row:
        known["sn_median"] = row["sn_median_all"]
    known |= {name: columns[name] for name in _EXTRA_COLUMNS if name in columns}
    return known | {"header": header, "file": str(path)}


def _specobjid(value):
    """The identifier as a positive integer: legacy files hold text, the others an unsigned number read as signed."""
    try:
        number = int(value) % (1 << 64)
    except (TypeError, ValueError):
        return None
    return number or None


def _flux_unit(bunit):
    """Flux unit of a BUNIT card.

    Only the power of ten is read from it: the rest, ``erg/cm^2/s/Ang``, is not a unit string by the FITS standard, and
    all reductions mean the same by it.
    """
    match = re.match(r"\s*(?:1(?:\.0*)?[eE]|10(?:\^|\*\*)\(?)([+-]?\d+)", str(bunit))
    power = int(match[1]) if match else -17
    return u.Unit(10.0**power * u.erg / (u.s * u.cm**2 * u.AA))


def prefer_spec_lite_loader(prefer: bool = True) -> None:
    """Let ``Spectrum.read(path)`` without a format use this loader for every spec-lite file.

    By default it is found without naming it only for files that no other loader claims, so that importing the package
    changes nothing for files that specutils knows.  Once preferred, this loader is the only one that claims spec-lite
    files: the built-in ones step aside for them, and identification stays unambiguous.

    Parameters
    ----------
    prefer : bool
        False undoes it.
    """
    global _preferred
    _preferred = bool(prefer)
    for label, identifier in _BUILT_IN.items():
        for cls in (Spectrum, SpectrumList):
            registry.register_identifier(label, cls, _step_aside(identifier), force=True)


def _step_aside(identifier):
    """The identifier of a built-in loader that leaves spec-lite files to ours as long as ours is preferred."""

    def identify(*args, **kwargs):
        return claims(identifier, *args, **kwargs) and not (
            _preferred and claims(_is_spec_lite, *args, **kwargs)
        )

    return identify
