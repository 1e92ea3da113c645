"""The strong emission lines of quasars: where they fall, how well each is seen, and where its maximum lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable

from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["LINES", "EmissionLine", "line_table"]


@dataclass(frozen=True)
class EmissionLine:
    """An emission line.

    Parameters
    ----------
    name : str
    rest_wavelength : float
        Vacuum wavelength in Angstrom.
    half_width : float
        Half width in km/s of the window that holds most of the line in a quasar.
    """

    name: str
    rest_wavelength: float
    half_width: float


#: Laboratory wavelengths in vacuum of Vanden Berk et al. 2001 (AJ 122, 549), table 2; of multiplets, the mean weighted
#: with oscillator strengths.  The narrow line [OIII] has a narrower window.
LINES = (
    EmissionLine("Lya", 1215.67, 2500.0),
    EmissionLine("CIV", 1549.06, 3000.0),
    EmissionLine("CIII]", 1908.73, 4000.0),
    EmissionLine("MgII", 2798.75, 3000.0),
    EmissionLine("Hb", 4862.68, 3000.0),
    EmissionLine("[OIII]", 5008.24, 700.0),
    EmissionLine("Ha", 6564.61, 3000.0),
)


_REALISATIONS = 16  # of noise, for the error of a maximum
_CLEAR = 5.0  # S/N from which on the maximum of a line is given
_KMS = u.km / u.s


def line_table(loglam, flux, ivar, z):
    """Where each line is expected at a redshift, how well it is seen, and where its maximum lies.

    The signal is the flux within the line's window above a straight continuum between two bands on either side, each
    as wide as the window; its error holds the noise of the window and of both bands.  The maximum is the centre of mass of
    the part of the line about its highest point that is above half of it, in flux smoothed over a quarter of the
    window; its error is the scatter that more noise of the same size brings.

    Parameters
    ----------
    loglam : array_like, shape (n,)
        log10 of the vacuum wavelength in Angstrom, ascending.
    flux, ivar : array_like, shape (n,)
        Flux density per wavelength and its inverse variance; ``ivar = 0`` means no data.
    z : float
        Redshift; NaN gives lines that are nowhere.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``name``, ``rest_wavelength`` and observed ``wavelength`` (Angstrom, vacuum), ``covered`` (at least half
        of the window has data), ``snr`` (NaN where not covered); ``peak`` (observed wavelength of the maximum), its
        ``velocity`` against the redshift, positive to the red, and ``velocity_err`` (km/s), NaN for lines of S/N below 5.
    """
    wavelength = 10.0 ** np.asarray(loglam, dtype=np.float64)
    rest = np.array([line.rest_wavelength for line in LINES])
    observed = rest * (1 + z)
    measured = [
        _measure_line(
            wavelength, np.asarray(flux), np.asarray(ivar), centre, line.half_width / SPEED_OF_LIGHT
        )
        for centre, line in zip(observed, LINES, strict=True)
    ]
    table = QTable()
    table["name"] = [line.name for line in LINES]
    table["rest_wavelength"] = rest * u.AA
    table["wavelength"] = observed * u.AA
    table["covered"] = [line.covered for line in measured]
    table["snr"] = [line.snr for line in measured]
    velocity = SPEED_OF_LIGHT * np.array([line.offset for line in measured])
    table["peak"] = observed * (1 + velocity / SPEED_OF_LIGHT) * u.AA
    table["velocity"] = velocity * _KMS
    table["velocity_err"] = SPEED_OF_LIGHT * np.array([line.error for line in measured]) * _KMS
    for name in ("rest_wavelength", "wavelength", "peak"):
        table[name].info.format = ".2f"
    for name in ("snr", "velocity", "velocity_err"):
        table[name].info.format = ".1f" if name == "snr" else ".0f"
    return table


@dataclass(frozen=True)
class _Line:
    """What is seen of a line; the maximum and its error relative to the expected wavelength."""

    covered: bool = False
    snr: float = np.nan
    offset: float = np.nan
    error: float = np.nan


def _measure_line(wavelength, flux, ivar, centre, half_width):
    """The line in the window ``centre (1 -+ half_width)``, above the continuum."""
    if not centre > 0 or wavelength.size < 2:
        return _Line()
    with np.errstate(invalid="ignore"):
        good = (ivar > 0) & np.isfinite(flux) & np.isfinite(ivar)
    offset = wavelength / centre - 1
    line = np.abs(offset) <= half_width
    width = np.gradient(wavelength)
    # Half of the window must have data: compare with its full width, part of which may be off the spectrum.
    if width[line & good].sum() < half_width * centre:
        return _Line()
    line &= good
    bands = [
        good & (side * offset > 1.5 * half_width) & (side * offset <= 3.5 * half_width) for side in (-1, 1)
    ]
    means = [_weighted_mean(offset[b], flux[b], ivar[b]) for b in bands if b.any()]
    if not means:
        return _Line(True)
    if len(means) == 1:
        x0, f0, v0 = means[0]
        means = [(x0, f0, 2 * v0)] * 2  # a level continuum; each half carries half the weight below
    (x0, f0, v0), (x1, f1, v1) = means
    share = (offset[line] - x0) / (x1 - x0) if x1 != x0 else np.full(line.sum(), 0.5)
    dw = width[line]
    excess = flux[line] - (1 - share) * f0 - share * f1
    signal = np.sum(excess * dw)
    variance = np.sum(dw**2 / ivar[line]) + np.sum((1 - share) * dw) ** 2 * v0 + np.sum(share * dw) ** 2 * v1
    snr = float(signal / np.sqrt(variance))
    if not snr >= _CLEAR:
        return _Line(True, snr)
    return _Line(True, snr, *_maximum(offset[line], excess, ivar[line], half_width))


def _maximum(place, excess, ivar, half_width):
    """Centre of mass of the upper half of a line about its maximum, and how much it scatters when noise is added."""
    kernel = np.exp(-0.5 * ((place - place[:, None]) / (0.125 * half_width)) ** 2) * ivar
    kernel /= kernel.sum(1, keepdims=True)
    # The same noise for everybody: a result depends on nothing but the spectrum.
    noise = np.random.default_rng(0).normal(size=(_REALISATIONS, len(place))) / np.sqrt(ivar)
    middle, *others = (_upper_half(place, f, kernel @ f) for f in (excess, *(excess + noise)))
    return middle, float(np.std(others))


def _upper_half(place, excess, smooth):
    top = smooth.argmax()
    low = smooth < 0.5 * smooth[top]
    # The stretch about the maximum: a second line in the window does not count.
    before, after = np.flatnonzero(low[:top]), np.flatnonzero(low[top:])
    part = slice(before[-1] + 1 if before.size else 0, top + after[0] if after.size else len(low))
    weight = np.maximum(excess[part], 0)
    total = weight.sum()
    return float(np.sum(place[part] * weight) / total) if total > 0 else np.nan


def _weighted_mean(x, values, ivar):
    total = ivar.sum(dtype=np.float64)
    return np.sum(x * ivar) / total, np.sum(values * ivar) / total, 1 / total
