"""Velocities, the unit in which redshifts are compared.

A redshift is off by ``dv = c (z - z_true) / (1 + z_true)``; within 3000 km/s it counts as right.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "MAD_TO_SIGMA",
    "ONE_SIGMA",
    "OUTLIER_VELOCITY",
    "RIGHT",
    "SPEED_OF_LIGHT",
    "is_right",
    "nmad",
    "velocity_difference",
    "weighted_quantile",
]

#: Speed of light in km/s.
SPEED_OF_LIGHT = 299792.458

#: A redshift off by more than this, in km/s, is catastrophic.
OUTLIER_VELOCITY = 3000.0

#: The same as a width in ln(1 + z), in which p(z) has its bins: half of a window about a peak.
RIGHT = OUTLIER_VELOCITY / SPEED_OF_LIGHT

#: Probability inside one standard deviation of a Gaussian, the level of the intervals given here.
ONE_SIGMA = 0.6827

#: Makes the median absolute deviation of a Gaussian its standard deviation.
MAD_TO_SIGMA = 1.0 / NormalDist().inv_cdf(0.75)


def velocity_difference(z: ArrayLike, z_true: ArrayLike) -> np.ndarray:
    """Velocity difference ``c (z - z_true) / (1 + z_true)``.

    Parameters
    ----------
    z, z_true : array_like of float, shape (n,)
        Measured and true redshift.

    Returns
    -------
    `~numpy.ndarray` of float, shape (n,)
        In km/s; NaN where either redshift is missing.
    """
    z, z_true = np.asarray(z, dtype=float), np.asarray(z_true, dtype=float)
    return SPEED_OF_LIGHT * (z - z_true) / (1.0 + z_true)


def is_right(z: ArrayLike, z_true: ArrayLike) -> np.ndarray:
    """Whether redshifts lie within 3000 km/s of others, by `velocity_difference`.

    Parameters
    ----------
    z, z_true : array_like of float, shape (n,)

    Returns
    -------
    `~numpy.ndarray` of bool, shape (n,)
        False where either is missing.
    """
    return np.abs(velocity_difference(z, z_true)) <= OUTLIER_VELOCITY


def weighted_quantile(values: ArrayLike, q: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Quantiles of weighted values.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Finite values.
    q : float or array_like of float
        Probabilities from 0 to 1.
    weights : array_like of float, shape (n,), optional
        Non-negative weights, all alike by default.

    Returns
    -------
    float or `~numpy.ndarray`
        Like ``q``; NaN where there are no values. Integer weights are the same as repeated values, and with
        equal weights the median is that of `numpy.median`.
    """
    values = np.asarray(values, dtype=float)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=float)
    values, weights = values[weights > 0], weights[weights > 0]
    if values.size == 0:
        return np.full(np.shape(q), np.nan)[()]
    order = np.argsort(values, kind="stable")
    values, below = values[order], np.cumsum(weights[order]) / weights.sum()
    # Where the weight up to a value is exactly q, the quantile is the middle between it and the next; sums of
    # weights like 1/78 are exact to a few 1e-16 times their number.
    near = 1e-9
    first = np.searchsorted(below, np.asarray(q) - near).clip(max=values.size - 1)
    last = np.searchsorted(below, np.asarray(q) + near).clip(max=values.size - 1)
    return 0.5 * (values[first] + values[last])


def nmad(values: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Normalised median absolute deviation about the median, ``1.4826 median(|x - median(x)|)``.

    Parameters
    ----------
    values : array_like of float, shape (n,)
    weights : array_like of float, shape (n,), optional

    Returns
    -------
    float
        The standard deviation of a Gaussian core, unmoved by outliers; NaN for fewer than two values.
    """
    if np.size(values) < 2:
        return np.nan
    centre = weighted_quantile(values, 0.5, weights)
    return float(
        MAD_TO_SIGMA * weighted_quantile(np.abs(np.asarray(values, dtype=float) - centre), 0.5, weights)
    )
