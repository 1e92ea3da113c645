"""p(u), u = ln(1 + z), of peaks of p(z) in cells of 17 km/s: what a likelihood and a network make of them.

Cells reach 3037 km/s to either side of a shift of the eigenspectra's scan; everything works on rows of them, a row a peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from specz_cnn.io.grid import LATTICE_STEP
from specz_cnn.models.eigenspectra import SHIFT
from specz_cnn.results.distribution import quantile
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = [
    "BINS_PER_SHIFT",
    "NATIVE",
    "REACH",
    "TINY",
    "Interval",
    "Likelihood",
    "at_redshift",
    "convolved",
    "in_native_bins",
    "interval_of",
    "label_density",
    "log_density",
    "normalised",
    "peak_probability",
    "replace_peak",
]

#: Width of the bins of a measured p(z) in ln(1 + z): a native pixel of SDSS, 69 km/s.
NATIVE = LATTICE_STEP * float(np.log(10.0))
#: Shifts to either side: 3037 km/s.
REACH = 22
_FINE = 8  # cells of p(u) in a shift: 17 km/s
_CELLS = 2 * REACH * _FINE
#: Bins of `NATIVE` in a shift.
BINS_PER_SHIFT = round(SHIFT / NATIVE)
_CELL = SHIFT / _FINE
#: Least probability that counts.
TINY = 1e-12
_LEVELS = 0.15865525393145707, 0.5, 0.8413447460685429


@dataclass(frozen=True)
class Likelihood:
    """What a fit says about peaks, before it is turned into probabilities.

    Parameters
    ----------
    chi2 : `~numpy.ndarray`, shape (n, n_shifts)
    freedom : `~numpy.ndarray`, shape (n,)
        Degrees of freedom.
    centre : `~numpy.ndarray` of int, shape (n,)
        The shift in the middle.
    prior : `~numpy.ndarray`, shape (n, n_cells)
        ln p(u) of the network in the cells, in the frame of the fit.
    """

    chi2: np.ndarray
    freedom: np.ndarray
    centre: np.ndarray
    prior: np.ndarray

    @property
    def z(self):
        """Redshift in the middle, shape (n,)."""
        return np.expm1(self.centre * SHIFT)

    @property
    def places(self):
        """ln(1 + z) in the middle of the cells, shape (n, n_cells)."""
        return SHIFT * (self.centre[:, None] - REACH + (np.arange(_CELLS) + 0.5) / _FINE)

    def rows(self, rows):
        """Some of the peaks."""
        return Likelihood(self.chi2[rows], self.freedom[rows], self.centre[rows], self.prior[rows])


@dataclass(frozen=True)
class Interval:
    """Medians and central 68 % in ln(1 + z), each of shape (n,)."""

    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray

    def stretched(self, factor):
        """With half widths multiplied."""
        middle = self.middle
        return Interval(middle - factor * (middle - self.low), middle, middle + factor * (self.high - middle))

    def moved(self, offset, scatter):
        """In a frame that lies ``offset`` away, give or take ``scatter``."""
        middle = self.middle + offset
        low, high = np.hypot(self.middle - self.low, scatter), np.hypot(self.high - self.middle, scatter)
        return Interval(middle - low, middle, middle + high)

    def where(self, use, other):
        """This one where ``use``, else the other."""
        return Interval(*(np.where(use, a, b) for a, b in zip(self._parts, other._parts, strict=True)))

    @property
    def _parts(self):
        return self.low, self.middle, self.high

    def columns(self, rows, n):
        """``z, z_err, z_lo, z_hi`` of ``n`` rows, NaN in those that are none of ``rows``."""
        z = np.expm1(self.middle)
        error = (1 + z) * 0.5 * (self.high - self.low)
        columns = []
        for values in (z, error, np.expm1(self.low), np.expm1(self.high)):
            columns.append(np.full(n, np.nan))
            columns[-1][rows] = values
        return columns


def interval_of(p, centre):
    """Medians and central 68 % of probabilities in cells about shifts: an `Interval`."""
    return Interval(*(SHIFT * (centre - REACH) + q for q in quantile(p, _LEVELS, _CELL, smooth=False)))


def peak_probability(likelihood, model):
    """p(u) of peaks in cells of 17 km/s, from chi2 and the network's p(z).

    Parameters
    ----------
    likelihood : Likelihood
    model : dict
        ``alpha``, ``temperature``, ``floor`` (km/s), ``share``, ``wing`` (km/s): numbers or functions of redshift.

    Returns
    -------
    core, p : `~numpy.ndarray`, shape (n, n_cells)
        Without and with the network; rows sum to one.
    """
    alpha, temperature, floor, share, wing = (
        at_redshift(model[name], likelihood.z)[:, None]
        for name in ("alpha", "temperature", "floor", "share", "wing")
    )
    fine = likelihood.chi2 @ _spline()
    least = fine.min(1, keepdims=True)
    temperature = temperature * np.maximum(least / np.maximum(likelihood.freedom, 1)[:, None], 1)
    p = normalised(np.exp(-0.5 * (fine - least) / temperature))
    floor, wing = floor[:, 0] / SPEED_OF_LIGHT, wing[:, 0] / SPEED_OF_LIGHT
    narrow, wide = (_gaussian(p.shape[1], width) for width in (floor, wing))
    core = normalised(_smoothed(p, torch.lerp(narrow, wide, torch.from_numpy(share))))
    log_p = np.log(np.maximum(core, TINY)) + alpha * likelihood.prior
    return core, normalised(np.exp(log_p - log_p.max(1, keepdims=True)))


def label_density(likelihood, model, u):
    """Probability density of labels under a model, per 100 km/s.

    Parameters
    ----------
    likelihood : Likelihood
    model : dict
        Of `peak_probability`.
    u : `~numpy.ndarray`, shape (n,)
        ln(1 + z) of the labels.

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
        Zero for labels that lie outside.
    """
    _, p = peak_probability(likelihood, model)
    cell = np.floor((u - SHIFT * (likelihood.centre - REACH)) / _CELL).astype(np.int64)
    inside = (cell >= 0) & (cell < _CELLS)
    density = p[np.arange(len(p)), np.clip(cell, 0, _CELLS - 1)] * (100 / (_CELL * SPEED_OF_LIGHT))
    return np.where(inside, density, 0.0)


def at_redshift(nodes, z):
    """A function of redshift, linear between nodes ``{"z": [...], "value": [...]}``; or a constant."""
    if isinstance(nodes, dict):
        return np.interp(z, nodes["z"], nodes["value"])
    return np.full(np.shape(z), float(nodes))


def convolved(p, sigma, offset=0.0):
    """Rows of cells convolved with Gaussians of a width and an offset, in ln(1 + z), that differ from row to row."""
    return _smoothed(p, _gaussian(p.shape[1], sigma, offset))


def _gaussian(n_cells, sigma, offset=0.0):
    """Fourier transforms of Gaussians, for `_smoothed`: shape (n, n_cells + 1)."""
    frequency = 2 * np.pi * np.fft.rfftfreq(2 * n_cells) / _CELL
    kernel = torch.from_numpy(-0.5 * (frequency * np.reshape(sigma, (-1, 1))) ** 2).exp_()
    if np.any(offset):
        return torch.polar(kernel, torch.from_numpy(-frequency * np.reshape(offset, (-1, 1))))
    return kernel


def _smoothed(p, kernel):
    n, size = p.shape[1], 2 * p.shape[1]
    if not len(p):
        return p  # which those of MKL do not take
    # Those of torch take a third of the time of numpy's.
    spectrum = torch.fft.rfft(torch.from_numpy(p), size) * kernel
    return torch.fft.irfft(spectrum, size)[:, :n].clamp_(min=0).numpy()


def normalised(p):
    return p / p.sum(1, keepdims=True)


def log_density(pdf, step, u):
    """ln p at places of shape (n, m), linear between the middles of bins."""
    n_bins = pdf.shape[1]
    place = np.clip(u / step - 0.5, 0, n_bins - 1.000001)
    left = place.astype(np.int64)
    share = place - left
    rows = np.arange(len(pdf))[:, None]
    # Places of a row are near each other: the logarithms of a few bins serve them all.
    first = left.min(1, keepdims=True)
    left -= first
    bins = np.minimum(first + np.arange(left.max(initial=0) + 2), n_bins - 1)
    log_p = np.log(np.maximum(pdf[rows, bins], TINY))
    low, high = log_p[rows, left], log_p[rows, left + 1]
    return np.where(u < 0, np.log(TINY), low + share * (high - low))


def in_native_bins(pdf, step, offset):
    """Probabilities in bins of `NATIVE`, each row moved by ``offset`` to the blue."""
    n_bins = round(pdf.shape[1] * step / NATIVE)
    parts = round(step / NATIVE)
    if abs(step / NATIVE - parts) < 1e-9 and not np.any(offset):
        return np.repeat(pdf / parts, parts, axis=1)
    edges, fine = step * np.arange(pdf.shape[1] + 1), NATIVE * np.arange(n_bins + 1)
    out = np.empty((len(pdf), n_bins))
    for row, values, by in zip(out, pdf, offset, strict=True):
        below = np.interp(fine + by, edges, np.concatenate([[0], np.cumsum(values)]))
        below[0], below[-1] = 0.0, below[-1] + (values.sum() - below[-1])
        row[:] = np.diff(below)
    return out


def replace_peak(pdf, cells, lowest):
    """Put a peak, given in cells, in place of what stands there; its sum stays."""
    bins = cells.reshape(-1, _FINE // BINS_PER_SHIFT).sum(1)
    first, last = max(lowest, 0), min(lowest + len(bins), len(pdf))
    bins = bins[first - lowest : last - lowest]
    pdf[first:last] = bins * (pdf[first:last].sum() / bins.sum())


@cache
def _spline():
    """Matrix that takes chi2 at the shifts to the middles of the cells: a cubic spline, "not a knot" at the ends.

    scipy's needs the import of a fourth of scipy, which a single spectrum would wait for.
    """
    n = 2 * REACH + 1
    values = np.eye(n)
    # The slopes at the shifts: the second derivative is continuous, and next to the ends the third is, too.
    matrix = 4.0 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
    right = 3.0 * (np.eye(n, k=1) - np.eye(n, k=-1))
    matrix[0, :2] = matrix[-1, :-3:-1] = 1.0, 2.0
    right[0, :3], right[-1, :-4:-1] = (-2.5, 2.0, 0.5), (2.5, -2.0, -0.5)
    slopes = np.linalg.solve(matrix, right)
    place = (np.arange(_CELLS) + 0.5) / _FINE
    left = place.astype(np.int64)
    x = (place - left)[:, None]
    spline = (1 + 2 * x) * (1 - x) ** 2 * values[left] + x**2 * (3 - 2 * x) * values[left + 1]
    spline += x * (1 - x) ** 2 * slopes[left] - x**2 * (1 - x) * slopes[left + 1]
    return np.ascontiguousarray(spline.T)
