"""How right redshifts and classes are: velocity differences, fractions, scatter, completeness, purity.

Weights count independent objects: an object observed 78 times gives weight 1/78 to each of its spectra
(`group_weights`), so that the sum of the weights is the number of objects, and intervals are as wide as that
number asks.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.evaluate.split import group_names
from specz_cnn.velocity import (
    MAD_TO_SIGMA,
    ONE_SIGMA,
    OUTLIER_VELOCITY,
    nmad,
    velocity_difference,
    weighted_quantile,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from specz_cnn.typing import Table

__all__ = [
    "NZ_WIDTH",
    "REDSHIFT_BINS",
    "SNR_BINS",
    "VELOCITY_LIMITS",
    "binomial_interval",
    "classification_metrics",
    "completeness_purity",
    "group_weights",
    "redshift_metrics",
]

#: Limits in km/s within which redshifts are counted.
VELOCITY_LIMITS = (600.0, 3000.0, 6000.0, 12000.0)

#: Edges of the redshift bins of the tables.
REDSHIFT_BINS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.2)
#: Edges of the bins of the median signal-to-noise ratio per pixel.
SNR_BINS = (-np.inf, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)
#: Width of the bins of the redshift distribution N(z).
NZ_WIDTH = 0.2


def group_weights(group: ArrayLike) -> np.ndarray:
    """Weight of each spectrum such that every object counts once.

    Parameters
    ----------
    group : array_like of int or str, shape (n,)
        Identifier of the object that each spectrum belongs to.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        One over the number of spectra of the object.
    """
    _, inverse, count = np.unique(group_names(group), return_inverse=True, return_counts=True)
    return 1.0 / count[inverse.reshape(-1)]


def binomial_interval(k: ArrayLike, n: ArrayLike, level: float = ONE_SIGMA) -> tuple[Any, Any]:
    """Wilson score interval of a fraction.

    Parameters
    ----------
    k, n : float or array_like of float
        Successes and trials. Sums of weights are allowed; they count independent objects.
    level : float
        Probability that the interval holds the true fraction.

    Returns
    -------
    low, high : float or `~numpy.ndarray`
        Bounds inside 0 to 1; NaN where ``n`` is 0.

    References
    ----------
    Wilson E. B., 1927, J. Am. Stat. Assoc., 22, 209; Brown L. D., Cai T. T., DasGupta A., 2001, Stat. Sci.,
    16, 101.
    """
    s = NormalDist().inv_cdf(0.5 + 0.5 * level)
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + s**2 / (2 * n)) / (1 + s**2 / n)
        half = s / (1 + s**2 / n) * np.sqrt(np.clip(p * (1 - p), 0, None) / n + s**2 / (4 * n**2))
    # Rounding would leave bounds like 1e-17 for k = 0.
    low = np.where(k <= 0, np.where(n > 0, 0.0, np.nan), np.clip(centre - half, 0, 1))
    high = np.where((k >= n) & (n > 0), 1.0, np.clip(centre + half, 0, 1))
    return low[()], high[()]


def redshift_metrics(
    z: ArrayLike,
    z_true: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    missing: str = "wrong",
    level: float = ONE_SIGMA,
) -> dict[str, Any]:
    """How well redshifts agree with the truth.

    Parameters
    ----------
    z, z_true : array_like of float, shape (n,)
        Measured and true redshift. Spectra without a true redshift (NaN) do not count.
    weights : array_like of float, shape (n,), optional
        See `group_weights`; all 1 by default.
    missing : {"wrong", "ignore"}
        Whether a missing ``z`` (NaN) counts as wrong, as it must for a method that was asked for all of them,
        or not at all, for a catalogue column that was only filled for some.
    level : float
        Probability of the intervals ``*_lo`` to ``*_hi``.

    Returns
    -------
    dict of float
        ``n_spectra``, ``n_objects`` (sum of the weights), ``answered`` (fraction with a redshift),
        ``within_V`` (fraction with ``|dv| < V`` km/s) for each of `VELOCITY_LIMITS`, ``n_outliers`` (spectra)
        and ``outliers`` (fraction with ``|dv| > 3000`` km/s, or without redshift where that is wrong), each
        fraction with its Wilson interval ``*_lo``, ``*_hi``; ``outliers_max95``, the upper bound of the
        fraction of outliers at 95 % (one-sided); in km/s, over the rest, ``bias`` (median) and ``nmad``, with
        distribution-free intervals from the binomial distribution of order statistics; and ``nmad_all``,
        outliers included.
    """
    if missing not in ("wrong", "ignore"):
        raise ValueError(f"missing must be 'wrong' or 'ignore', not {missing!r}")
    dv = velocity_difference(z, z_true)
    weights = np.ones(dv.shape) if weights is None else np.asarray(weights, dtype=float)
    labelled = np.isfinite(np.asarray(z_true, dtype=float))
    dv, weights = dv[labelled], weights[labelled]
    answered = np.isfinite(dv)
    metrics = {"answered": weights[answered].sum() / weights.sum() if weights.sum() > 0 else np.nan}
    if missing == "ignore":
        dv, weights, answered = dv[answered], weights[answered], answered[answered]
    total = weights.sum()
    metrics = {"n_spectra": int(dv.size), "n_objects": float(total), **metrics}
    size = np.where(answered, np.abs(dv), np.inf)
    for limit in VELOCITY_LIMITS:
        metrics |= _fraction(f"within_{limit:.0f}", weights[size < limit].sum(), total, level)
    outlier = ~(size <= OUTLIER_VELOCITY)
    metrics["n_outliers"] = int(outlier.sum())
    metrics |= _fraction("outliers", weights[outlier].sum(), total, level)
    # The two-sided 90 % interval leaves 5 % above it.
    metrics["outliers_max95"] = float(binomial_interval(weights[outlier].sum(), total, 0.90)[1])
    metrics |= _scatter(dv[~outlier], weights[~outlier], level)
    metrics["nmad_all"] = nmad(dv[answered], weights[answered])
    return metrics


def _fraction(name, k, n, level):
    """A fraction and its interval as three entries."""
    low, high = binomial_interval(k, n, level)
    return {name: float(k / n) if n > 0 else np.nan, f"{name}_lo": float(low), f"{name}_hi": float(high)}


def _scatter(dv, weights, level):
    """Median and NMAD with intervals.

    The number of values below the true median is binomial, which bounds the median between two sample
    quantiles whatever the distribution; the same holds for the median of the absolute deviations.
    """
    names = [name + ending for name in ("bias", "nmad") for ending in ("", "_lo", "_hi")]
    if dv.size < 2:
        return dict.fromkeys(names, np.nan)
    half = 0.5 * NormalDist().inv_cdf(0.5 + 0.5 * level) / np.sqrt(weights.sum())
    q = np.clip([0.5, 0.5 - half, 0.5 + half], 0, 1)
    median = weighted_quantile(dv, q, weights)
    spread = MAD_TO_SIGMA * weighted_quantile(np.abs(dv - median[0]), q, weights)
    return dict(zip(names, map(float, [*median, *spread]), strict=True))


def classification_metrics(
    p_qso: ArrayLike,
    is_qso: ArrayLike,
    *,
    threshold: float = 0.5,
    weights: ArrayLike | None = None,
    level: float = ONE_SIGMA,
) -> dict[str, Any]:
    """Completeness and purity of the spectra called quasars.

    Parameters
    ----------
    p_qso : array_like of float, shape (n,)
        Probability of being a quasar; NaN, from a spectrum that could not be measured, is never called a
        quasar.
    is_qso : array_like of bool, shape (n,)
        True class.
    threshold : float
        Spectra with ``p_qso >= threshold`` are called quasars.
    weights : array_like of float, shape (n,), optional
        See `group_weights`; all 1 by default.
    level : float
        Probability of the intervals.

    Returns
    -------
    dict of float
        ``threshold``, ``n_spectra``, ``n_qso`` and ``n_other`` (sums of weights), ``completeness`` (fraction
        of quasars called so), ``purity`` (fraction of quasars among those called so), ``contamination``
        (fraction of the others called quasars), each with ``*_lo``, ``*_hi``; and ``brier``, the mean square
        of ``p_qso - is_qso``. Purity depends on the mix of classes in the sample, contamination does not.
    """
    p_qso = np.nan_to_num(np.asarray(p_qso, dtype=float), nan=0.0)
    is_qso = np.asarray(is_qso, dtype=bool)
    weights = np.ones(p_qso.shape) if weights is None else np.asarray(weights, dtype=float)
    called = p_qso >= threshold
    n_qso, n_other = weights[is_qso].sum(), weights[~is_qso].sum()
    true_positive, false_positive = weights[called & is_qso].sum(), weights[called & ~is_qso].sum()
    metrics = {"threshold": float(threshold), "n_spectra": int(p_qso.size)}
    metrics |= {"n_qso": float(n_qso), "n_other": float(n_other)}
    metrics |= _fraction("completeness", true_positive, n_qso, level)
    metrics |= _fraction("purity", true_positive, true_positive + false_positive, level)
    metrics |= _fraction("contamination", false_positive, n_other, level)
    metrics["brier"] = (
        float(np.average((p_qso - is_qso) ** 2, weights=weights)) if weights.sum() > 0 else np.nan
    )
    return metrics


def completeness_purity(p_qso: ArrayLike, is_qso: ArrayLike, *, weights: ArrayLike | None = None) -> Table:
    """Completeness and purity at every threshold that makes a difference.

    Parameters
    ----------
    p_qso, is_qso, weights
        As in `classification_metrics`.

    Returns
    -------
    threshold, completeness, purity : `~numpy.ndarray` of float, shape (m,)
        In descending order of the threshold.
    """
    p_qso = np.nan_to_num(np.asarray(p_qso, dtype=float), nan=0.0)
    is_qso = np.asarray(is_qso, dtype=bool)
    weights = np.ones(p_qso.shape) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(-p_qso, kind="stable")
    score = p_qso[order]
    true_positive = np.cumsum((weights * is_qso)[order])
    called = np.cumsum(weights[order])
    last = np.append(score[1:] != score[:-1], True)[: score.size]
    total = (weights * is_qso).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return score[last], (true_positive / total)[last], (true_positive / called)[last]
