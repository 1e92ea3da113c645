"""The strong emission lines of quasars: where they fall, and how well each is seen."""

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


def line_table(loglam, flux, ivar, z):
    """Observed wavelength, coverage and signal-to-noise ratio of each line at a redshift.

    The signal is the flux within the line's window above a straight continuum between two bands on either side, each
    as wide as the window; its error holds the noise of the window and of both bands.

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
        of the window has data), ``snr`` (NaN where not covered).
    """
    wavelength = 10.0 ** np.asarray(loglam, dtype=np.float64)
    rest = np.array([line.rest_wavelength for line in LINES])
    observed = rest * (1 + z)
    measured = [
        _line_snr(wavelength, np.asarray(flux), np.asarray(ivar), centre, line.half_width / SPEED_OF_LIGHT)
        for centre, line in zip(observed, LINES, strict=True)
    ]
    table = QTable()
    table["name"] = [line.name for line in LINES]
    table["rest_wavelength"] = rest * u.AA
    table["wavelength"] = observed * u.AA
    table["covered"] = [covered for covered, _ in measured]
    table["snr"] = [snr for _, snr in measured]
    table["rest_wavelength"].info.format = table["wavelength"].info.format = ".2f"
    table["snr"].info.format = ".1f"
    return table


def _line_snr(wavelength, flux, ivar, centre, half_width):
    """Whether the window ``centre (1 -+ half_width)`` has data, and the S/N of the flux above the continuum."""
    if not centre > 0 or wavelength.size < 2:
        return False, np.nan
    with np.errstate(invalid="ignore"):
        good = (ivar > 0) & np.isfinite(flux) & np.isfinite(ivar)
    offset = wavelength / centre - 1
    line = np.abs(offset) <= half_width
    width = np.gradient(wavelength)
    # Half of the window must have data: compare with its full width, part of which may be off the spectrum.
    if width[line & good].sum() < half_width * centre:
        return False, np.nan
    line &= good
    bands = [
        good & (side * offset > 1.5 * half_width) & (side * offset <= 3.5 * half_width) for side in (-1, 1)
    ]
    means = [_weighted_mean(offset[b], flux[b], ivar[b]) for b in bands if b.any()]
    if not means:
        return True, np.nan
    if len(means) == 1:
        x0, f0, v0 = means[0]
        means = [(x0, f0, 2 * v0)] * 2  # a level continuum; each half carries half the weight below
    (x0, f0, v0), (x1, f1, v1) = means
    share = (offset[line] - x0) / (x1 - x0) if x1 != x0 else np.full(line.sum(), 0.5)
    dw = width[line]
    signal = np.sum((flux[line] - (1 - share) * f0 - share * f1) * dw)
    variance = np.sum(dw**2 / ivar[line]) + np.sum((1 - share) * dw) ** 2 * v0 + np.sum(share * dw) ** 2 * v1
    return True, float(signal / np.sqrt(variance))


def _weighted_mean(x, values, ivar):
    total = ivar.sum(dtype=np.float64)
    return np.sum(x * ivar) / total, np.sum(values * ivar) / total, 1 / total
