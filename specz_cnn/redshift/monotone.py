"""Monotone maps from a score to log odds, fitted to what came true."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["effective_size", "fit_monotone"]


def effective_size(weight):
    """Number of equally weighted spectra that tell as much as these (Kish 1965)."""
    square = np.sum(weight**2)
    return np.sum(weight) ** 2 / square if square > 0 else 0.0


def fit_monotone(x, outcome, weights=None, *, n_nodes=8):
    """Logistic regression on a monotone, piecewise linear function.

    Parameters
    ----------
    x : array_like, shape (n,)
        A score.
    outcome : array_like of bool, shape (n,)
        Whether what the score stands for came true.
    weights : array_like, shape (n,), optional
    n_nodes : int, optional
        Nodes, at quantiles of the score.

    Returns
    -------
    dict
        ``{"x": [...], "y": [...]}``, for `specz_cnn.redshift.posterior.apply_map`: nodes of the score, ascending, and the log
        odds there, strictly ascending.
    """
    x, outcome = np.asarray(x, dtype=np.float64), np.asarray(outcome, dtype=bool)
    weights = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
    use = np.isfinite(x) & (weights > 0)
    x, outcome = x[use], outcome[use]
    # Weights set proportions; certainty comes from the number of spectra that they leave.
    weights = weights[use] * effective_size(weights[use]) / weights[use].sum()
    n_nodes = int(np.clip(min(outcome.sum(), (~outcome).sum()) // 12, 2, n_nodes))
    # Quantiles of the rarer outcome are where the curve is determined; the ends cover everything.
    rare = x[outcome] if outcome.sum() < (~outcome).sum() else x[~outcome]
    levels = np.linspace(0, 1, n_nodes)
    inner = np.quantile(rare, levels) if rare.size else np.quantile(x, levels)
    nodes = np.unique(np.concatenate([np.quantile(x, [0.001, 0.999]), inner]))
    nodes = nodes[np.concatenate([[True], np.diff(nodes) > 1e-6])]
    if nodes.size < 2:
        nodes = np.array([x.min() - 1, x.max() + 1])
    basis = np.stack([np.interp(x, nodes, row) for row in np.eye(nodes.size)], 1)
    sign = np.where(outcome, 1.0, -1.0)
    gaps = np.diff(nodes)

    def loss(parameters):
        y = parameters[0] + np.concatenate([[0], np.cumsum(parameters[1:] * gaps)])
        margin = sign * (basis @ y)
        value = np.sum(weights * np.logaddexp(0, -margin))
        # Half a success and half a failure at either end: certainty needs evidence.
        ends = y[[0, -1]]
        value += 0.5 * np.sum(np.logaddexp(0, ends) + np.logaddexp(0, -ends))
        pull = -weights * sign * expit(-margin)
        slope_y = basis.T @ pull
        slope_y[[0, -1]] += 0.5 * (expit(ends) - expit(-ends))
        # Neighbouring slopes resemble each other.
        steps = np.diff(parameters[1:])
        value += np.sum(steps**2)
        gradient = np.empty_like(parameters)
        gradient[0] = slope_y.sum()
        gradient[1:] = np.cumsum(slope_y[::-1])[::-1][1:] * gaps
        gradient[1:-1] -= 2 * steps
        gradient[2:] += 2 * steps
        return value, gradient

    rate = np.clip(np.average(outcome, weights=weights), 1e-3, 1 - 1e-3)
    start = np.full(nodes.size, 0.5)
    start[0] = np.log(rate / (1 - rate)) - 0.5 * 0.5 * np.ptp(nodes)
    bounds = [(-20, 20)] + [(0.02, 20)] * gaps.size
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    y = found.x[0] + np.concatenate([[0], np.cumsum(found.x[1:] * gaps)])
    return {"x": nodes.tolist(), "y": y.tolist()}
