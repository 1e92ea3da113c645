"""Write spec-lite files: the layout of BOSS and eBOSS, as this package and specutils' own loader read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from astropy.table import Table
from specutils import Spectrum
from specutils.io.registers import custom_writer

from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.io.layout import check_loglam, identity_from
from specz_cnn.io.whole import write_whole

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from specz_cnn.typing import PathLike

__all__ = ["write_spec_lite"]

_FLUX_UNIT = u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))
# The survey writes "1E-17 erg/cm^2/s/Ang", which astropy parses only with a warning.
_BUNIT = "1E-17 erg/(s cm2 Angstrom)"

# Columns of HDU 1 after flux, loglam and ivar: name, FITS format, numpy type.
_EXTRA_COLUMNS = (
    ("and_mask", "J", np.int32),
    ("or_mask", "J", np.int32),
    ("wdisp", "E", np.float32),
    ("sky", "E", np.float32),
    ("model", "E", np.float32),
)


def write_spec_lite(
    path: PathLike,
    loglam: ArrayLike,
    flux: ArrayLike,
    ivar: ArrayLike,
    *,
    and_mask: ArrayLike | None = None,
    or_mask: ArrayLike | None = None,
    wdisp: ArrayLike | None = None,
    sky: ArrayLike | None = None,
    model: ArrayLike | None = None,
    plate: int | None = None,
    mjd: int | None = None,
    fiber: int | None = None,
    run2d: str | int = "v5_13_0",
    specobjid: int | None = None,
    ra: float = np.nan,
    dec: float = np.nan,
    z: float = np.nan,
    z_err: float = np.nan,
    zwarning: int | None = None,
    spectral_class: str = "",
    subclass: str = "",
    lines: Any = None,
    header: Any = None,
    overwrite: bool = False,
) -> None:
    """Write one spectrum as an SDSS spec-lite file.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path : path-like
        Usually ``spec-PLATE-MJD-FIBER.fits``.
    loglam : array_like, shape (n,)
        log10 of the observed vacuum wavelength in Angstrom, ascending; stored in single precision.
    flux, ivar : array_like, shape (n,)
        Flux in 1e-17 erg / (s cm2 Angstrom), and its inverse variance.
    and_mask, or_mask : array_like of int, shape (n,), optional
        SPPIXMASK bits set in all exposures, and in any; zero if not given.
    wdisp, sky, model : array_like, shape (n,), optional
        Dispersion of the spectrograph in pixels (one if not given), sky and model flux (zero if not given).
    plate, mjd, fiber : int, optional
        Name of the observation; taken from the file's name if not given.
    run2d : str
        Name of the reduction.
    specobjid : int, optional
        Identifier of the spectrum; simulated spectra have none.
    ra, dec : float
        Position in degrees (ICRS).
    z, z_err : float
        Redshift for the catalogue row and its error; NaN if unknown.
    zwarning : int, optional
        Its warning bits; 0 if not given, or -1 (every bit) without a redshift.
    spectral_class, subclass : str
        STAR, GALAXY or QSO, and what kind of it.
    lines : `~astropy.table.Table`, optional
        Line measurements for HDU 3, SPZLINE.
    header : mapping, optional
        More keywords of the primary header: ``{keyword: value}`` or ``{keyword: (value, comment)}``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ValueError
        If shapes do not agree, wavelengths do not ascend, or the observation has no name.
    FileExistsError
        If the file exists and ``overwrite`` is False.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    name = _observation(path, plate, mjd, fiber)
    extra = {"and_mask": and_mask, "or_mask": or_mask, "wdisp": wdisp, "sky": sky, "model": model}
    coadd = _coadd_hdu(path, loglam, flux, ivar, extra)
    catalogue = {
        **name,
        "RUN2D": str(run2d),
        "RUN1D": str(run2d),
        "PLUG_RA": float(ra),
        "PLUG_DEC": float(dec),
        "CLASS": str(spectral_class),
        "SUBCLASS": str(subclass),
        "Z": np.float32(z),
        "Z_ERR": np.float32(z_err),
        "ZWARNING": (0 if np.isfinite(z) else -1) if zwarning is None else int(zwarning),
    }
    if specobjid is not None:
        catalogue["SPECOBJID"] = np.uint64(specobjid)
    hdus = [
        _primary_hdu(coadd.data, name, run2d, ra, dec, header),
        coadd,
        _catalogue_hdu(catalogue, coadd.data),
    ]
    if lines is not None:
        hdus.append(_line_hdu(lines, name))
    with write_whole(path) as part:
        fits.HDUList(hdus).writeto(part)


def _observation(path, plate, mjd, fiber):
    """Plate, MJD and fibre, as given or by the file's name."""
    named = identity_from(path.name, {}, {})
    name = {
        "PLATE": named["plate"] if plate is None else int(plate),
        "MJD": named["mjd"] if mjd is None else int(mjd),
        "FIBERID": named["fiber"] if fiber is None else int(fiber),
    }
    if min(name.values()) < 1:
        raise ValueError(f"{path.name} names no observation: pass plate, mjd and fiber (positive integers)")
    return name


def _coadd_hdu(path, loglam, flux, ivar, extra):
    """HDU 1, the spectrum."""
    loglam = np.asarray(loglam, np.float32)
    n = loglam.size
    columns = [
        ("flux", "E", np.asarray(flux, np.float32)),
        ("loglam", "E", loglam),
        ("ivar", "E", np.asarray(ivar, np.float32)),
    ]
    for name, form, dtype in _EXTRA_COLUMNS:
        default = np.full(n, 1 if name == "wdisp" else 0, dtype)
        columns.append(
            (name, form, default if extra[name] is None else np.asarray(extra[name]).astype(dtype))
        )
    for name, _, values in columns:
        if values.shape != (n,) or n == 0:
            raise ValueError(f"{name} has shape {values.shape}, where loglam has {loglam.shape}")
    check_loglam(loglam, path)
    return fits.BinTableHDU.from_columns(
        [fits.Column(name=name, format=form, array=values) for name, form, values in columns], name="COADD"
    )


def _primary_hdu(coadd, name, run2d, ra, dec, cards):
    """The primary header: what identifies the file, its unit, and its wavelengths where they are uniform."""
    hdu = fits.PrimaryHDU()
    header = hdu.header
    header["TELESCOP"] = ("SDSS 2.5-M", "by which readers know the format")
    header["PLATEID"], header["MJD"], header["FIBERID"] = name["PLATE"], name["MJD"], name["FIBERID"]
    header["RUN2D"] = str(run2d)
    # Readers ask for a version of the 2-D pipeline here; legacy reductions are numbers and carry this one.
    header["VERS2D"] = str(run2d) if str(run2d).startswith("v") else "v5_3_12"
    header["BUNIT"] = _BUNIT
    if np.isfinite(ra) and np.isfinite(dec):
        header["PLUG_RA"] = (float(ra), "RA of object [deg]")
        header["PLUG_DEC"] = (float(dec), "dec of object [deg]")
    loglam = coadd["loglam"].astype(np.float64)
    step = np.round(np.diff(loglam) / 1e-4).astype(int)
    if step.size and (step == 1).all():
        header["COEFF0"] = (round(loglam[0], 4), "log10(wavelength) of the first pixel")
        header["COEFF1"] = (1e-4, "log10 dispersion per pixel")
    for keyword, value in (cards or {}).items():
        header[keyword] = value
    return hdu


def _catalogue_hdu(row, coadd):
    """HDU 2, the row of the survey's catalogue."""
    good = ~bad_pixels(coadd["flux"], coadd["ivar"], policy="ivar")
    flux, ivar = (coadd[name][good].astype(np.float64) for name in ("flux", "ivar"))
    largest = np.finfo(np.float32).max
    snr = np.clip(np.median(flux * np.sqrt(ivar)), -largest, largest) if good.any() else 0.0
    row = row | {
        "SN_MEDIAN_ALL": np.float32(snr),
        "WAVEMIN": np.float32(10.0 ** np.float64(coadd["loglam"][0])),
        "WAVEMAX": np.float32(10.0 ** np.float64(coadd["loglam"][-1])),
    }
    columns = []
    for name, value in row.items():
        if isinstance(value, str):
            # A width of zero is legal but confuses readers.
            columns.append(fits.Column(name=name, format=f"{max(len(value), 1)}A", array=np.array([value])))
        else:
            form = {float: "D", int: "J", np.float32: "E", np.uint64: "K"}[type(value)]
            # The survey stores the unsigned identifier in a signed column.
            array = np.array([value]).view(np.int64) if form == "K" else np.array([value])
            columns.append(fits.Column(name=name, format=form, array=array))
    return fits.BinTableHDU.from_columns(columns, name="SPALL")


def _line_hdu(lines, name):
    """HDU 3, line measurements, each with the name of the observation."""
    table = Table({keyword: np.full(len(lines), value, np.int32) for keyword, value in name.items()})
    for column in lines.colnames:
        table[column.upper()] = lines[column]
    hdu = fits.table_to_hdu(table)
    hdu.name = "SPZLINE"
    return hdu


def _inverse_variance(spectrum):
    """Inverse variance in units that belong to those of the flux, whatever kind of uncertainty there is."""
    uncertainty = spectrum.uncertainty
    # Even to itself, astropy converts an inverse variance by way of the variance: zeros would divide.
    if not isinstance(uncertainty, InverseVariance):
        uncertainty = uncertainty.represent_as(InverseVariance)
    return uncertainty.quantity.to_value(spectrum.flux.unit**-2)


@custom_writer("SDSS spec-lite", dtype=Spectrum, force=True)
def _write_spectrum(spectrum, path, *, overwrite=False, **keywords):
    """Write a `~specutils.Spectrum`; what its meta holds is used unless given as a keyword of `write_spec_lite`."""
    if spectrum.flux.ndim != 1:
        raise ValueError(
            f"a spec-lite file holds one spectrum, not an array of shape {spectrum.flux.shape[:-1]}"
        )
    wavelength = spectrum.spectral_axis.to_value(u.AA, u.spectral())
    equivalency = u.spectral_density(wavelength * u.AA)
    flux = spectrum.flux.to_value(_FLUX_UNIT, equivalency)
    # What one unit of flux becomes at each pixel; the inverse variance changes by its inverse square.
    scale = u.Quantity(np.ones_like(flux), spectrum.flux.unit).to_value(_FLUX_UNIT, equivalency)
    if spectrum.uncertainty is None:
        raise ValueError("a spec-lite file needs the inverse variance: the spectrum has no uncertainty")
    ivar = _inverse_variance(spectrum) / scale**2
    if spectrum.mask is not None:
        ivar = np.where(spectrum.mask, 0.0, ivar)
    meta = spectrum.meta
    known = {name: meta[name] for name in _META_KEYWORDS if name in meta}
    known |= {"spectral_class": meta.get("class", "")} | keywords
    order = np.argsort(wavelength)
    for name in ("and_mask", "or_mask", "wdisp", "sky", "model"):
        if name in known:
            known[name] = np.asarray(known[name])[order]
    write_spec_lite(path, np.log10(wavelength[order]), flux[order], ivar[order], overwrite=overwrite, **known)


_META_KEYWORDS = (
    *("and_mask", "or_mask", "wdisp", "sky", "model"),
    *("plate", "mjd", "fiber", "run2d", "specobjid", "ra", "dec", "z", "z_err", "zwarning", "subclass"),
)
