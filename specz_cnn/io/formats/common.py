"""What the readers of all formats share: a spectrum from its parts, headers, positions."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.nddata import InverseVariance
from specutils import Spectrum

from specz_cnn.io.units import parse_axis_unit, parse_flux_unit

__all__ = [
    "FLAM",
    "flux_unit",
    "header_position",
    "inverse_variance",
    "known",
    "linear_axis",
    "make_spectrum",
    "native",
    "stem",
]

#: The flux unit of SDSS, DESI and PypeIt.
FLAM = u.Unit("1e-17 erg / (s cm2 AA)")


def native(values):
    """An array of double precision and its own, whatever the byte order of the file."""
    return np.array(values, dtype=np.float64)


def inverse_variance(*, sigma=None, variance=None, ivar=None):
    """Inverse variance from whichever of the three there is; 0 where the value says nothing, None without any.

    Parameters
    ----------
    sigma, variance, ivar : array_like, shape (n,)
    """
    values, power = next(
        ((native(v), p) for v, p in ((ivar, 1), (variance, -1), (sigma, -2)) if v is not None), (None, 0)
    )
    if values is None:
        return None
    with np.errstate(all="ignore"):
        result = np.where(values > 0, values, np.nan) ** power
    return np.where(np.isfinite(result), result, 0.0)


def make_spectrum(wavelength, flux, *, ivar=None, mask=None, unit=FLAM, axis=u.AA, medium=None, meta=None):
    """A spectrum from its parts.

    Parameters
    ----------
    wavelength, flux : array_like, shape (n,)
        Pixels whose wavelength is not finite, not positive or that of the pixel before are left out: some formats pad.
    ivar : array_like, optional
    mask : array_like of bool, optional
        True is bad.
    unit, axis : `~astropy.units.UnitBase`
        Of the flux, and of ``wavelength``.
    medium : {"air", "vacuum", None}
        Of the wavelengths, where it is known.
    meta : dict, optional
        Identity and header; unknown entries (None) are left out.

    Returns
    -------
    `~specutils.Spectrum`

    Raises
    ------
    ValueError
        If the arrays do not match, or fewer than two pixels are left.
    """
    wavelength, flux = native(wavelength), native(flux)
    if wavelength.ndim != 1 or wavelength.shape != flux.shape:
        raise ValueError(
            f"wavelengths of shape {wavelength.shape} and flux of shape {flux.shape} do not match"
        )
    keep = np.isfinite(wavelength) & (wavelength > 0)
    order = np.flatnonzero(keep)
    if order.size > 1 and not (
        np.all(np.diff(wavelength[order]) > 0) or np.all(np.diff(wavelength[order]) < 0)
    ):
        order = order[np.argsort(wavelength[order], kind="stable")]
        order = order[np.append(True, np.diff(wavelength[order]) > 0)]
    if order.size < 2:
        raise ValueError("fewer than two pixels with a wavelength")
    meta = known(meta or {})
    if medium is not None:
        meta["medium"] = medium
    return Spectrum(
        flux=flux[order] * unit,
        spectral_axis=wavelength[order] * axis,
        uncertainty=None if ivar is None else InverseVariance(native(ivar)[order], unit=unit**-2),
        mask=None if mask is None else np.asarray(mask, dtype=bool)[order],
        meta=meta,
    )


def known(meta):
    """Entries that say something: no None, no empty text, no number that is not finite."""
    return {
        key: value
        for key, value in meta.items()
        if not (
            value is None
            or (isinstance(value, str) and not value.strip())
            or (isinstance(value, float) and not np.isfinite(value))
        )
    }


def flux_unit(header, default=u.one):
    """Unit of the flux by a header's BUNIT, whose spelling is free in practice; the default where it says nothing.

    Raises
    ------
    ValueError
        If what it says is no unit.
    """
    text = str(header.get("BUNIT", "")).strip()
    return parse_flux_unit(text) if text else default


def linear_axis(header, n, axis=1):
    """Wavelengths of ``n`` pixels by a linear or log-linear WCS of a header.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
    n : int
    axis : int, optional
        Number of the axis in the header.

    Returns
    -------
    values : `~numpy.ndarray`
    unit : `~astropy.units.UnitBase` or None
        None where the header does not say.

    Raises
    ------
    ValueError
        If the header has no such WCS.
    """
    step = header.get(f"CD{axis}_{axis}", header.get(f"CDELT{axis}"))
    start = header.get(f"CRVAL{axis}")
    if not (isinstance(start, int | float) and isinstance(step, int | float) and step != 0):
        raise ValueError(f"no CRVAL{axis} and CD{axis}_{axis} or CDELT{axis} that give wavelengths")
    kind = str(header.get(f"CTYPE{axis}", "")).upper()
    values = start + step * (np.arange(n) + 1 - header.get(f"CRPIX{axis}", 1))
    unit, log = None, False
    words = str(header.get(f"CUNIT{axis}", "")).strip() or _iraf_units(header, axis)
    if words:
        unit, log = parse_axis_unit(words)
    if kind.endswith("-LOG"):
        values = start * np.exp((values - start) / start)  # the FITS standard's logarithmic axis
    elif log or header.get("DC-FLAG") == 1 or kind in ("LOGLAM", "LOG10", "WAVE-LOG10"):
        values = 10.0**values
    return values, unit


def _iraf_units(header, axis):
    """The units that IRAF writes into its own attributes of an axis."""
    text = "".join(str(header[key]) for key in header if key.startswith(f"WAT{axis}_"))
    match = re.search(r"\bunits=(\S+)", text)
    return match[1].strip("\"'") if match else ""


def header_position(header, ra=("RA", "RA_TARG", "OBJRA"), dec=("DEC", "DEC_TARG", "OBJDEC")):
    """Position in degrees that a header holds, as numbers or sexagesimal; (None, None) where it is none.

    Parameters
    ----------
    header : mapping
    ra, dec : sequence of str
        Keywords, the best first.
    """
    first = next((header[key] for key in ra if header.get(key) not in (None, "")), None)
    second = next((header[key] for key in dec if header.get(key) not in (None, "")), None)
    try:
        if isinstance(first, str) and not re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", first):
            first = Angle(first, unit=u.hourangle).deg
            second = Angle(second, unit=u.deg).deg
        first, second = float(first), float(second)
    except (ValueError, TypeError):
        return None, None
    return (first % 360, second) if -360 <= first <= 360 and -90 <= second <= 90 else (None, None)


def stem(path):
    """Name of a file without directories and extensions: the identifier where a file holds no other."""
    name = Path(str(path)).name
    return re.sub(r"(?i)(\.(fits?|fts|csv|txt|dat|ascii|ecsv|gz|bz2|xz|fz|vot|xml|parquet))+$", "", name)
