"""How honest probabilities are: errors, intervals, p(z) and confidences against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

from specz_cnn.evaluate.metrics import binomial_interval
from specz_cnn.velocity import ONE_SIGMA, nmad, weighted_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike


__all__ = [
    "COVERAGE_LEVELS",
    "coverage",
    "credible_level_from_interval",
    "credible_level_from_pdf",
    "pit_from_interval",
    "pit_from_pdf",
    "pull_metrics",
    "reliability",
    "uniformity",
]

#: Levels at which the coverage of intervals is stated.
COVERAGE_LEVELS = (0.50, 0.68, 0.90, 0.95)

# Asymptotic 5 % point of the Kolmogorov-Smirnov statistic.
_KS_LIMIT = 1.358

# Rows of p(z) looked at together, so that arrays stay in the processor's cache.
_ROWS = 64

# Probabilities below this count as zero.
_NOTHING = 1e-200


def pull_metrics(
    z: ArrayLike, z_err: ArrayLike, z_true: ArrayLike, *, weights: ArrayLike | None = None
) -> dict[str, Any]:
    """Distribution of ``(z - z_true) / z_err``, a unit Gaussian if the errors are right.

    Parameters
    ----------
    z, z_err, z_true : array_like of float, shape (n,)
        Redshift, its error and the truth. Rows where one of them is missing do not count.
    weights : array_like of float, shape (n,), optional

    Returns
    -------
    dict of float
        ``pull_nmad``, ``pull_median`` and ``pull_beyond_5``, the fraction beyond five errors.
    """
    z, z_err, z_true = (np.asarray(value, dtype=float) for value in (z, z_err, z_true))
    weights = np.ones(z.shape) if weights is None else np.asarray(weights, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = (z - z_true) / z_err
    good = np.isfinite(pull)
    pull, weights = pull[good], weights[good]
    beyond = weights[np.abs(pull) > 5].sum() / weights.sum() if weights.sum() > 0 else np.nan
    return {
        "pull_nmad": nmad(pull, weights),
        "pull_median": float(weighted_quantile(pull, 0.5, weights)),
        "pull_beyond_5": float(beyond),
    }


def _in_errors(z, z_lo, z_hi, z_true):
    """Distance of the truth from ``z`` in units of the error on its side."""
    z, z_lo, z_hi, z_true = (np.asarray(value, dtype=float) for value in (z, z_lo, z_hi, z_true))
    side = np.where(z_true < z, z - z_lo, z_hi - z)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = (z_true - z) / side
    # A point without extent on that side leaves the truth infinitely far away, unless it is hit exactly.
    return np.where(z_true == z, 0.0, scaled)


def credible_level_from_interval(
    z: ArrayLike, z_lo: ArrayLike, z_hi: ArrayLike, z_true: ArrayLike
) -> np.ndarray:
    """Level of the credible interval on whose edge the truth lies, from the 68 % bounds of a table.

    A table holds no p(z); the interval of any other level is taken to scale like that of a Gaussian, each
    side with its own width.

    Parameters
    ----------
    z, z_lo, z_hi, z_true : array_like of float, shape (n,)
        Redshift, its 68 % bounds, the truth.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        From 0 (``z`` is right) to 1; uniform if the intervals are right; NaN where something is missing.
    """
    return erf(np.abs(_in_errors(z, z_lo, z_hi, z_true)) / np.sqrt(2.0))


def pit_from_interval(z: ArrayLike, z_lo: ArrayLike, z_hi: ArrayLike, z_true: ArrayLike) -> np.ndarray:
    """Probability below the truth (probability integral transform), from the 68 % bounds of a table.

    Parameters
    ----------
    z, z_lo, z_hi, z_true : array_like of float, shape (n,)
        Redshift, its 68 % bounds, the truth.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        Uniform from 0 to 1 if the errors are right. Both sides of ``z`` are taken to hold half of the
        probability.
    """
    return 0.5 * (1.0 + erf(_in_errors(z, z_lo, z_hi, z_true) / np.sqrt(2.0)))


def _around_truth(pdf, z_grid, z_true):
    """Blocks of rows: cumulative p(z) on finer bins, and the position of the truth in units of these.

    Errors are about as wide as a bin of the networks; within bins, p(z) is the smooth one that intervals are
    made from.
    """
    from specz_cnn.results.distribution import smooth_cumulative

    centre = np.log1p(np.asarray(z_grid, dtype=float))
    position = np.log1p(np.asarray(z_true, dtype=float))
    if pdf.ndim != 2 or pdf.shape != (position.size, centre.size) or centre.size < 2:
        raise ValueError(
            f"p(z) of shape {pdf.shape} belongs to {pdf.shape[-1]} redshifts and {len(pdf)} spectra, "
            f"not to {centre.size} and {position.size}"
        )
    step = (centre[-1] - centre[0]) / (centre.size - 1)
    if np.abs(np.diff(centre) - step).max() > 1e-3 * step:
        raise ValueError("z_grid must be uniform in ln(1 + z)")
    position = (position - centre[0]) / step + 0.5
    for start in range(0, len(pdf), _ROWS):
        block = np.asarray(pdf[start : start + _ROWS], dtype=float)
        usable = np.isfinite(block).all(axis=1, keepdims=True)
        # The interpolation divides by probabilities, which must not be denormal numbers.
        block = np.where(block > _NOTHING, block, 0.0)
        total = block.sum(axis=1, keepdims=True)
        usable &= total > 0
        # Sums of float32 probabilities are 1 only to a few 1e-6.
        fine = smooth_cumulative(np.where(usable, block, 1.0) / np.where(usable, total, centre.size))
        place = position[start : start + _ROWS] * (fine.shape[1] - 1) / centre.size
        yield fine, np.where(usable[:, 0], place, np.nan)


def _joined(parts):
    return np.concatenate([np.empty(0), *parts])


def pit_from_pdf(pdf: ArrayLike, z_grid: ArrayLike, z_true: ArrayLike) -> np.ndarray:
    """Probability below the truth (probability integral transform) in each p(z).

    Parameters
    ----------
    pdf : array_like of float, shape (n, n_bins)
        Probability per bin.
    z_grid : array_like of float, shape (n_bins,)
        Redshifts of the bin centres, uniform in ln(1 + z).
    z_true : array_like of float, shape (n,)
        True redshifts; one beyond the grid gives 0 or 1.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        Uniform from 0 to 1 if p(z) is right; NaN where the truth or the p(z) is missing.

    Raises
    ------
    ValueError
        If the shapes do not belong together or the grid is not uniform in ln(1 + z).
    """

    def values():
        for fine, place in _around_truth(np.asarray(pdf), z_grid, z_true):
            index = np.arange(fine.shape[1])
            yield np.array([np.interp(x, index, row) for x, row in zip(place, fine, strict=True)])

    return _joined(values())


def credible_level_from_pdf(pdf: ArrayLike, z_grid: ArrayLike, z_true: ArrayLike) -> np.ndarray:
    """Level of the shortest credible region of each p(z) on whose edge the truth lies.

    Parameters
    ----------
    pdf, z_grid, z_true
        As in `pit_from_pdf`.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        Probability of all redshifts that are more probable than the truth: uniform from 0 to 1 if p(z) is
        right; NaN where the truth or the p(z) is missing.

    Raises
    ------
    ValueError
        If the shapes do not belong together or the grid is not uniform in ln(1 + z).
    """

    def values():
        for fine, place in _around_truth(np.asarray(pdf), z_grid, z_true):
            density = np.diff(fine, axis=1)
            known = np.isfinite(place)
            index = np.clip(np.where(known, place, 0), 0, density.shape[1] - 1).astype(int)
            own = density[np.arange(index.size), index][:, None]
            # A region cannot choose among redshifts of equal probability; half of them count.
            level = np.where(density > own, density, 0.5 * (density == own) * density).sum(axis=1)
            yield np.where(known, level, np.nan)

    return _joined(values())


def coverage(
    level_of_truth: ArrayLike,
    *,
    levels: Sequence[float] = COVERAGE_LEVELS,
    weights: ArrayLike | None = None,
    level: float = ONE_SIGMA,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fraction of truths inside the credible intervals of the given levels.

    Parameters
    ----------
    level_of_truth : array_like of float, shape (n,)
        From `credible_level_from_interval` or `credible_level_from_pdf`; NaN does not count.
    levels : sequence of float
        Nominal levels.
    weights : array_like of float, shape (n,), optional
    level : float
        Probability of the binomial interval of each fraction.

    Returns
    -------
    fraction, low, high : `~numpy.ndarray` of float, shape (len(levels),)
    """
    values = np.asarray(level_of_truth, dtype=float)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=float)
    weights = np.where(np.isfinite(values), weights, 0.0)
    total = weights.sum()
    k = np.array([weights[values <= nominal].sum() for nominal in levels])
    low, high = binomial_interval(k, np.full(k.shape, total), level)
    return (k / total if total > 0 else np.full(k.shape, np.nan)), low, high


def reliability(
    confidence: ArrayLike,
    right: ArrayLike,
    *,
    edges: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = ONE_SIGMA,
) -> dict[str, Any]:
    """Stated confidence against the fraction that is right.

    Parameters
    ----------
    confidence : array_like of float, shape (n,)
        Stated probability of being right; NaN does not count.
    right : array_like of bool, shape (n,)
        Whether it was.
    edges : array_like of float, optional
        Edges of the confidence bins; ten equal ones with the last divided further by default, because most
        confidences are high and the difference between 0.9 and 0.999 is what people act on.
    weights : array_like of float, shape (n,), optional
    level : float
        Probability of the binomial interval of each fraction.

    Returns
    -------
    dict
        Arrays of one value a bin: ``low``, ``high`` (bin edges), ``n`` (sum of weights), ``confidence``
        (mean), ``right``, ``right_lo``, ``right_hi``; and the floats ``expected_error``, the weighted mean of
        ``|confidence - right|`` over bins, and ``brier``, the mean square of ``confidence - right`` over
        spectra.
    """
    if edges is None:
        edges = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0]
    edges = np.asarray(edges, dtype=float)
    confidence = np.asarray(confidence, dtype=float)
    weights = np.ones(confidence.shape) if weights is None else np.asarray(weights, dtype=float)
    known = np.isfinite(confidence)
    confidence, right, weights = confidence[known], np.asarray(right, dtype=float)[known], weights[known]
    index = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, edges.size - 2)

    def total(values):
        return np.bincount(index, values, minlength=edges.size - 1)

    n, k = total(weights), total(weights * right)
    low, high = binomial_interval(k, n, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, fraction = total(weights * confidence) / n, k / n
    gap = np.nansum(n * np.abs(mean - fraction))
    whole = weights.sum()
    return {
        "low": edges[:-1],
        "high": edges[1:],
        "n": n,
        "confidence": mean,
        "right": fraction,
        "right_lo": low,
        "right_hi": high,
        "expected_error": float(gap / whole) if whole > 0 else np.nan,
        "brier": float(np.sum(weights * (confidence - right) ** 2) / whole) if whole > 0 else np.nan,
    }


def uniformity(pit: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of PIT values from a uniform distribution.

    Parameters
    ----------
    pit : array_like of float, shape (n,)
        Values from 0 to 1; NaN does not count.
    weights : array_like of float, shape (n,), optional

    Returns
    -------
    distance, limit : float
        Largest distance between the cumulative distributions, and the distance that chance exceeds in 5 % of
        samples of that many objects, ``1.358 / (sqrt(n) + 0.12 + 0.11 / sqrt(n))`` (Stephens M. A., 1970, J.
        R. Stat. Soc. B, 32, 115).
    """
    pit = np.asarray(pit, dtype=float)
    weights = np.ones(pit.shape) if weights is None else np.asarray(weights, dtype=float)
    known = np.isfinite(pit)
    pit, weights = pit[known], weights[known]
    n = weights.sum()
    if n <= 0:
        return np.nan, np.nan
    order = np.argsort(pit, kind="stable")
    above = np.cumsum(weights[order]) / n
    below = above - weights[order] / n
    distance = max(np.max(above - pit[order]), np.max(pit[order] - below))
    root = np.sqrt(n)
    return float(distance), float(_KS_LIMIT / (root + 0.12 + 0.11 / root))
