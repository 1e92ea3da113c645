"""From specutils objects to plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.io.layout import known_name, whole_number
from specz_cnn.io.loader_masks import own_mask, use_mask
from specz_cnn.io.units import air_to_vacuum, wavelength_power

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from specutils import Spectrum

__all__ = ["IN_AIR", "arrays_from_spectrum", "medium_of", "medium_of_header", "split_spectrum"]

#: Note of spectra whose wavelengths were those in air.
IN_AIR = "wavelengths converted from air to vacuum"

_SAFE = 1e-6, 1e6  # typical flux that needs no scaling to be squared in single precision
_LARGEST = float(np.finfo(np.float32).max)


def arrays_from_spectrum(spectrum: Spectrum, *, air: bool | None = None) -> SpectrumArrays:
    """Convert a one-dimensional spectrum.

    The spectral axis may be wavelength, frequency, energy or wavenumber, ascending or descending, and is taken as
    observed.  Wavelengths in air become those in vacuum where the spectrum says that they are.  Flux per frequency or
    energy, nu F_nu, and photons become energy per wavelength; counts and numbers without unit are taken as such, any
    other unit is refused; the scale of very small or large numbers is removed.  Masked pixels (of the spectrum or its
    flux), and those with values that are not finite, get no weight; without an uncertainty the noise
    is estimated from the scatter of neighbouring pixels.

    Parameters
    ----------
    spectrum : `~specutils.Spectrum`
        Not changed.
    air : bool, optional
        Whether wavelengths are those in air.  By default what `medium_of` finds, and vacuum where nothing says.

    Returns
    -------
    SpectrumArrays
        What ``meta`` knows about plate, MJD, fiber, position and the pipeline's redshift comes along.

    Raises
    ------
    ValueError
        If the spectrum is not one-dimensional, its axis is no wavelength, its wavelengths neither ascend nor descend, or
        its flux is complex, in magnitudes, or in a unit that is no flux.

    Notes
    -----
    The masks of spectra read by the loaders "SDSS-III/IV spec", "SDSS-V spec", "SDSS-I/II spSpec" and "SDSS spPlate" of
    specutils are not used: they mark every pixel with any bit, which can be the whole of a good spectrum.  There the
    error or inverse variance, which is zero for bad pixels, is the survey's own rule.  What you mask afterwards is used,
    on the spectrum that was read; a slice of it no longer tells its mask from the loader's, and has none for us.
    """
    unit = spectrum.flux.unit
    if np.iscomplexobj(spectrum.flux):
        raise ValueError("the flux is complex")
    power = wavelength_power(unit)
    hidden = _hidden(spectrum.flux)
    flux = np.asarray(spectrum.flux.value, dtype=np.float64)
    if flux.ndim != 1:
        raise ValueError(f"one spectrum is one-dimensional, this one has shape {flux.shape}")
    wavelength = _wavelength(spectrum.spectral_axis)
    in_air = medium_of(spectrum) == "air" if air is None else air
    if in_air:
        wavelength = air_to_vacuum(wavelength)
    good = np.isfinite(flux) & ~hidden
    masked = own_mask(spectrum)
    if masked is not None:
        good &= ~masked
    typical = np.median(np.abs(flux[good])) if good.any() else 1.0
    scale = 1.0 if _SAFE[0] < typical < _SAFE[1] or typical == 0 else typical
    flux = flux / scale
    ivar = _inverse_variance(spectrum.uncertainty, unit, flux, good, scale)
    good &= (ivar > 0) & np.isfinite(ivar)
    factor = (wavelength / 5000.0) ** power if power else np.ones_like(wavelength)
    order = slice(None) if wavelength.size < 2 or wavelength[1] > wavelength[0] else slice(None, None, -1)
    # Bad pixels are zero, so that nothing downstream meets a NaN.
    flux = np.where(good, flux, 0.0) * factor
    ivar = np.where(good, ivar, 0.0) / factor**2
    return SpectrumArrays(
        loglam=np.log10(wavelength)[order],
        flux=np.clip(flux, -_LARGEST, _LARGEST).astype(np.float32)[order],
        ivar=np.minimum(ivar, _LARGEST).astype(np.float32)[order],
        **_identity(spectrum.meta),
        note=IN_AIR if in_air else "",
    )


def medium_of(spectrum):
    """Whether wavelengths are in air or in vacuum, as far as a spectrum says.

    Parameters
    ----------
    spectrum : `~specutils.Spectrum`

    Returns
    -------
    {"air", "vacuum", None}
        By ``meta["medium"]``; the keywords VACUUM and AIRORVAC of a header in ``meta``; or the type of the axis, AWAV
        for air, in that header or the WCS.
    """
    meta = spectrum.meta if isinstance(spectrum.meta, Mapping) else {}
    if meta.get("medium") in ("air", "vacuum"):
        return meta["medium"]
    header = meta.get("header")
    header = header if hasattr(header, "get") else {}
    medium = medium_of_header(header)
    if medium is None and str(_ctype(getattr(spectrum, "wcs", None))).upper().startswith("AWAV"):
        return "air"
    return medium


def medium_of_header(header):
    """The medium of wavelengths that a FITS header states: "air", "vacuum" or None."""
    vacuum = header.get("VACUUM")
    if vacuum is not None and str(vacuum).strip().upper() in ("F", "FALSE", "0", "NO"):
        return "air"
    if vacuum is not None and str(vacuum).strip().upper() in ("T", "TRUE", "1", "YES"):
        return "vacuum"
    stated = str(header.get("AIRORVAC", "")).strip().lower()
    if stated.startswith(("air", "vac")):
        return "air" if stated.startswith("air") else "vacuum"
    types = [str(header.get(f"CTYPE{axis}", "")).upper() for axis in (1, 2, 3)]
    return "air" if any(name.startswith("AWAV") for name in types) else None


def _ctype(wcs):
    """Type of the first axis of a WCS of astropy; the generalised ones of specutils have none."""
    try:
        return wcs.wcs.ctype[0]
    except (AttributeError, IndexError, TypeError):
        return ""


def _hidden(values):
    """Mask of masked values, whichever of numpy's and astropy's classes they are."""
    mask = getattr(values, "mask", False)
    return np.broadcast_to(np.asarray(mask, dtype=bool), np.shape(values))


def split_spectrum(spectra: Any) -> Iterator[Spectrum]:
    """The one-dimensional spectra of a spectrum of any dimension, a collection or a list.

    Parameters
    ----------
    spectra : `~specutils.Spectrum`, `~specutils.SpectrumCollection` or `~specutils.SpectrumList`

    Yields
    ------
    `~specutils.Spectrum`
        In C order of the dimensions other than the spectral one.
    """
    from specutils import Spectrum, SpectrumCollection

    if isinstance(spectra, Spectrum):
        if spectra.flux.ndim == 1:
            yield spectra
            return
        yield from _rows(
            spectra.flux,
            spectra.uncertainty,
            own_mask(spectra),
            lambda index: spectra.spectral_axis,
            spectra.meta,
            getattr(spectra, "spectral_axis_index", -1),
        )
    elif isinstance(spectra, SpectrumCollection):
        yield from _rows(
            spectra.flux,
            spectra.uncertainty,
            spectra.mask,
            lambda index: spectra.spectral_axis[index],
            spectra.meta,
            -1,
        )
    else:
        for spectrum in spectra:
            yield from split_spectrum(spectrum)


def _rows(flux, uncertainty, mask, axis_of, meta, spectral_index):
    """One-dimensional spectra of an array of them; of lists in meta that have one item for each, each gets its own."""
    from specutils import Spectrum

    def to_last(values):
        return np.moveaxis(values, spectral_index, -1)

    flux = to_last(flux)
    shape = flux.shape[:-1]
    errors = (
        None
        if uncertainty is None
        else to_last(np.broadcast_to(uncertainty.array, np.shape(uncertainty.array), subok=True))
    )
    mask = None if mask is None else to_last(np.asarray(mask))
    for number, index in enumerate(np.ndindex(shape)):
        own = _own_meta(meta, number, int(np.prod(shape)))
        one = Spectrum(
            flux=flux[index],
            spectral_axis=axis_of(index),
            uncertainty=None if errors is None else type(uncertainty)(errors[index], unit=uncertainty.unit),
            mask=None if mask is None else mask[index],
            meta=own,
        )
        use_mask(one)
        yield one


def _own_meta(meta, number, total):
    """Meta of one of many spectra: its item of lists that have one for each; SpectrumCollection makes a list of metas."""
    if isinstance(meta, list | tuple):
        meta = meta[number] if len(meta) == total else {}
    if not isinstance(meta, Mapping):
        return {}
    return {
        key: value[number] if isinstance(value, list | tuple) and len(value) == total else value
        for key, value in meta.items()
    }


def _wavelength(axis):
    """Wavelength in Angstrom, float64."""
    try:
        wavelength = u.Quantity(axis).to_value(u.AA, u.spectral()).astype(np.float64)
    except u.UnitConversionError:
        raise ValueError(f"a spectral axis in {axis.unit} cannot be converted to wavelength") from None
    step = np.diff(wavelength)
    if not (np.all(np.isfinite(wavelength)) and np.all(wavelength > 0)):
        raise ValueError("the spectral axis has values that are not finite or not positive")
    if not (np.all(step > 0) or np.all(step < 0)):
        raise ValueError("wavelengths must ascend or descend strictly")
    return wavelength


def _inverse_variance(uncertainty, unit, flux, good, scale):
    """Inverse variance of a flux that was divided by a scale, 0 where it is unknown."""

    # Power of the flux that the kind of uncertainty is, and power of it that is the inverse variance.
    known = {StdDevUncertainty: (1, -2), VarianceUncertainty: (2, -1), InverseVariance: (-2, 1)}
    kind = next((k for k in known if isinstance(uncertainty, k)), None)
    if kind is None or uncertainty.array is None:
        return estimate_ivar(flux, good)
    unit_power, power = known[kind]
    values = np.broadcast_to(np.asarray(uncertainty.array, dtype=np.float64), flux.shape)
    if uncertainty.unit is not None:
        try:
            values = values * uncertainty.unit.to(unit**unit_power)
        except u.UnitConversionError:
            raise ValueError(f"an uncertainty in {uncertainty.unit} does not fit a flux in {unit}") from None
    with np.errstate(all="ignore"):
        # In steps, for the range of the numbers.  A negative error marks a bad pixel in some surveys.
        for _ in range(abs(unit_power)):
            values = values / scale if unit_power > 0 else values * scale
        ivar = np.where(values > 0, values, np.nan) ** power
        return np.where((ivar > 0) & np.isfinite(ivar), ivar, 0.0)


def _identity(meta):
    """Fields of SpectrumArrays that a spectrum's meta knows, ours or that of the built-in loader."""
    meta = meta if isinstance(meta, Mapping) else {}
    header = meta.get("header")
    header = header if hasattr(header, "get") else {}
    sources = {
        "file": (str, meta.get("file")),
        "plate": (whole_number, meta.get("plate", header.get("PLATEID"))),
        "mjd": (whole_number, meta.get("mjd", header.get("MJD"))),
        "fiber": (whole_number, meta.get("fiber", header.get("FIBERID"))),
        "id": (str, meta.get("id", meta.get("targetid"))),
        "ra": (float, meta.get("ra", header.get("PLUG_RA"))),
        "dec": (float, meta.get("dec", header.get("PLUG_DEC"))),
        "z_pipe": (float, meta.get("z")),
        "z_pipe_err": (float, meta.get("z_err")),
        "class_pipe": (str, meta.get("class")),
        "zwarning_pipe": (whole_number, meta.get("zwarning")),
    }
    identity = {}
    for name, (convert, value) in sources.items():
        if value is None or value is np.ma.masked:
            continue
        try:
            identity[name] = convert(value)
        except (TypeError, ValueError, OverflowError):
            continue
    if "id" not in identity:
        identity["id"] = known_name(identity)
    return identity


def estimate_ivar(flux, good):
    """A constant inverse variance from the scatter of neighbouring pixels, for spectra that come without errors.

    Uses the second difference ``f[i] - (f[i-1] + f[i+1]) / 2``, whose variance is 1.5 times that of a pixel, and its
    median absolute value, which emission lines and cosmic rays hardly move.

    Parameters
    ----------
    flux : `~numpy.ndarray`, shape (n,)
        Flux density.
    good : `~numpy.ndarray` of bool, shape (n,)
        Pixels to use.

    Returns
    -------
    `~numpy.ndarray`, float64, shape (n,)
        Zero where not ``good``; if the scatter is zero, the noise is taken as 1e-3 of the median absolute flux.
    """
    flux = np.asarray(flux, dtype=np.float64)
    values = flux[good]
    ivar = np.zeros(flux.shape)
    if values.size == 0:
        return ivar
    sigma = 0.0
    if values.size >= 3:
        second = values[1:-1] - 0.5 * (values[2:] + values[:-2])
        sigma = 1.4826 * np.median(np.abs(second)) / np.sqrt(1.5)
    sigma = max(sigma, 1e-3 * np.median(np.abs(values)))
    ivar[good] = 1.0 / sigma**2 if sigma > 0 else 1.0
    return ivar
