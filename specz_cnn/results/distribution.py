"""What p(z) holds: peaks, windows, moments, quantiles and intervals of a probability distribution on bins.

Probabilities live on bins of ``ln(1 + z)``, bin ``k`` from ``k * step`` to ``(k + 1) * step``.  Everything is vectorised
over the rows of a batch, each row by itself.  Bins may be in single precision; what is made of those about a peak is computed
in double.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from specz_cnn.velocity import RIGHT

__all__ = [
    "around",
    "credible_intervals",
    "find_peak",
    "moments",
    "quantile",
    "smooth_cumulative",
    "smoothed",
    "weighted_sum",
    "window_odds",
    "window_sum",
]

_BLOCK = 32  # bins whose sums are made together
_SAMPLES = 16  # per bin, of cumulative distributions
# Cubic Hermite polynomials at the samples of a bin: of its mass, and of the slopes at its lower and upper edge.
_PLACE = np.arange(_SAMPLES) / _SAMPLES
_RISE = _PLACE**2 * (3 - 2 * _PLACE)
_LEAVE = _PLACE * (1 - _PLACE) ** 2
_ARRIVE = _PLACE**2 * (_PLACE - 1)


def weighted_sum(values, weights):
    """Sum over neighbouring bins with weights, zeros beyond the ends: shape (n, n_bins) in and out.

    Every sum is made by itself: exact to rounding even next to a peak 1e15 times higher, unlike a running sum or a
    Fourier transform.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n, n_bins)
        In single or double precision, which the sums are made in as well.
    weights : tuple of float
        An odd number of them, that of a bin itself in the middle, the same to both sides.
    """
    import torch  # not above: to look at a result takes none

    n, n_bins = values.shape
    half, n_blocks = len(weights) // 2, -(-n_bins // _BLOCK)
    values = torch.from_numpy(values)
    padded = values.new_zeros(n, n_blocks * _BLOCK + 2 * half)
    padded[:, half : half + n_bins] = values
    # Blocks of bins with their neighbours, times a matrix of few columns: arithmetic that processors do fastest.
    blocks = padded.unfold(1, _BLOCK + 2 * half, _BLOCK).flatten(0, 1)
    return (blocks @ _band(weights, values.dtype)).view(n, n_blocks * _BLOCK)[:, :n_bins].numpy()


@lru_cache(maxsize=64)
def _band(weights, dtype):
    """Matrix that takes a block of bins and its neighbours to weighted sums, shape (block + neighbours, block)."""
    import torch

    band = torch.zeros(_BLOCK + len(weights) - 1, _BLOCK, dtype=dtype)
    for place, weight in enumerate(weights):
        band.diagonal(-place).fill_(weight)
    return band


def window_sum(values, half):
    """Sum over ``2 * half + 1`` neighbouring bins, zeros beyond the ends: shape (n, n_bins) in and out."""
    return weighted_sum(values, (1.0,) * (2 * half + 1))


def smoothed(values, sigma):
    """Values convolved with a Gaussian of standard deviation ``sigma``, in bins, cut off at four of them."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return weighted_sum(values, tuple((weights / weights.sum()).tolist()))


def find_peak(p, step):
    """Bin at the centre of the most probable stretch of p(z) about 3000 km/s wide: shape (n,)."""
    half = max(round(0.5 * RIGHT / step), 1)
    return window_sum(window_sum(p, half), half).argmax(1)


def around(values, centre, half):
    """Bins ``centre - half`` to ``centre + half`` of each row, in double precision, zeros beyond the ends."""
    n, n_bins = values.shape
    index = centre[:, None] + np.arange(-half, half + 1)
    # Bins beyond the ends may be anything that exists: what is taken from them is overwritten.
    local = values[np.arange(n)[:, None], index % n_bins].astype(np.float64)
    if n and (centre.min() < half or centre.max() >= n_bins - half):
        local[(index < 0) | (index >= n_bins)] = 0.0
    return local


def moments(p, centre, half):
    """Mean (in bins) and standard deviation (in bins) of the part of p around a peak."""
    local = around(p, centre, half)
    offset = np.arange(-half, half + 1)
    total = np.maximum(local.sum(1), 1e-300)
    mean = local @ offset / total
    variance = np.maximum(local @ offset**2 / total - mean**2, 0)
    return centre + mean, np.sqrt(variance)


def quantile(masses, levels, step, *, smooth=True):
    """Quantiles within histograms, through a smooth monotone cumulative distribution.

    Parameters
    ----------
    masses : `~numpy.ndarray`, shape (n, m)
        Probabilities of consecutive bins.
    levels : sequence of float
    step : float
        Width of a bin.
    smooth : bool, optional
        False where bins are narrow enough for a probability that is constant in each.

    Returns
    -------
    list of `~numpy.ndarray`, shape (n,)
        For each level the distance from the lower edge of the first bin.
    """
    if smooth:
        cumulative, step = smooth_cumulative(masses), step / _SAMPLES
    else:
        cumulative = np.pad(np.cumsum(masses, axis=1), ((0, 0), (1, 0)))
    cumulative /= cumulative[:, -1:]
    rows = np.arange(len(cumulative))
    result = []
    for level in levels:
        upper = np.clip((cumulative < level).sum(1), 1, cumulative.shape[1] - 1)
        below, above = cumulative[rows, upper - 1], cumulative[rows, upper]
        share = np.clip((level - below) / np.maximum(above - below, 1e-300), 0, 1)
        result.append(step * (upper - 1 + share))
    return result


def smooth_cumulative(masses):
    """Cumulative distribution at 16 points per bin, monotone cubic between the edges: shape (n, 16 m + 1).

    The slope at an edge is the harmonic mean of the masses on either side (Fritsch F. N., Butland J. 1984, SIAM J. Sci.
    Stat. Comput. 5, 300), for bins of equal width.
    """
    masses = np.asarray(masses, dtype=np.float64)
    n, m = masses.shape
    left, right = masses[:, :-1], masses[:, 1:]
    total = left + right
    slope = np.zeros((n, m + 1))
    # Divided before multiplied: products of two tiny masses would underflow.
    np.divide(right, total, out=slope[:, 1:-1], where=total > 0)
    slope[:, 1:-1] *= 2 * left
    if m > 1:
        for end, first, second in ((0, masses[:, 0], masses[:, 1]), (m, masses[:, -1], masses[:, -2])):
            slope[:, end] = np.clip(1.5 * first - 0.5 * second, 0.0, None)
    else:
        slope[:] = masses
    edges = np.zeros((n, m + 1))
    np.cumsum(masses, axis=1, out=edges[:, 1:])
    fine = np.empty((n, _SAMPLES * m + 1))
    inside = fine[:, :-1].reshape(n, m, _SAMPLES)
    np.multiply(masses[:, :, None], _RISE, out=inside)
    inside += slope[:, :-1, None] * _LEAVE
    inside += slope[:, 1:, None] * _ARRIVE
    inside += edges[:, :-1, None]
    fine[:, -1] = edges[:, -1]
    return fine


def window_odds(pdf, u, step, least):
    """Logarithm of the odds that the redshift is within 3000 km/s of ``u``: shape (n,).

    Both probabilities are at least ``least`` times the sum of p(z), which need not be one.
    """
    half = int(np.ceil(RIGHT / step)) + 1
    middle = np.clip((u / step).astype(np.int64), 0, pdf.shape[1] - 1)
    bins = middle[:, None] + np.arange(-half, half + 1)
    place = (u / step)[:, None]
    share = np.minimum(place + RIGHT / step, bins + 1) - np.maximum(place - RIGHT / step, bins)
    inside = (around(pdf, middle, half) * np.clip(share, 0, 1)).sum(1)
    total = pdf.sum(1, dtype=np.float64)
    return np.log(np.maximum(inside, least * total)) - np.log(np.maximum(total - inside, least * total))


def credible_intervals(pdf, step, level):
    """Shortest intervals of redshift that together hold a given probability.

    Parameters
    ----------
    pdf : `~numpy.ndarray`, shape (n_bins,)
    step : float
        Width of a bin in ln(1 + z).
    level : float
        Probability, between 0 and 1.

    Returns
    -------
    `~numpy.ndarray`, shape (n_intervals, 2)
        Lower and upper ends in z, ascending.

    Raises
    ------
    ValueError
        If the level is not between 0 and 1, or this is no distribution.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not {level}")
    pdf = np.asarray(pdf, dtype=np.float64)
    if not (np.isfinite(pdf).all() and pdf.sum() > 0):
        raise ValueError("p(z) is not finite, or zero everywhere: it has no intervals")
    density = np.diff(smooth_cumulative(pdf[None])[0])
    # Shortest in velocity, that is in ln(1 + z), where bins are uniform and errors are.
    order = np.argsort(-density, kind="stable")
    n_chosen = int(np.searchsorted(np.cumsum(density[order]), level * density.sum())) + 1
    chosen = np.zeros(density.size + 2, dtype=np.int8)
    chosen[1 + order[:n_chosen]] = 1
    change = np.diff(chosen)
    ends = np.stack([np.flatnonzero(change == 1), np.flatnonzero(change == -1)], axis=1)
    return np.expm1(ends * (step / _SAMPLES))
