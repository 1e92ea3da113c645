"""What fits of eigenspectra are worth: the model of their errors, chosen on labelled spectra.

Step by step:

1. `~specz_cnn.redshift.cells.peak_probability`: its parameters maximise the likelihood of the labels, with weak priors;
2. the factor that makes intervals hold 68 % of the labels, in classes of redshift;
3. the share of outliers that is exceeded by one quasar in fifty, though never less than a tenth: spectra of higher S/N than
   those that it is learned from show what eigenspectra lack.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from specz_cnn.redshift.cells import interval_of, label_density, peak_probability
from specz_cnn.velocity import ONE_SIGMA, RIGHT, SPEED_OF_LIGHT, nmad, weighted_quantile

__all__ = ["calibrate_measurement"]

_FLOOR_Z = 0.9, 1.1, 1.8, 2.2
_CLASSES = 0.0, 0.5, 1.0, 1.8, 2.7, 8.0  # in redshift
_MANY = 20  # number of labels that moves a factor half of the way
_LEAST_DENSITY = 0.02  # of a label within its peak, per 100 km/s: a few are off for reasons of their own
_RARE = 0.98  # of quasars have fewer outliers
_LEAST_MANY = 0.1  # share of outliers that may be called many
_START = np.array([0.5, np.log(4.0), np.log(40.0), np.log(80.0), np.log(90.0), -1.0, np.log(400.0)])
_WIDTH = np.array([1.5, 0.7, 0.5, 0.5, 0.5, 1.0, 0.4])


def _model(x):
    """The model of parameters that have no bounds."""
    floor = np.repeat(np.exp(x[2:5]), (1, 1, 2))
    return {
        "alpha": float(expit(x[0])),
        "temperature": float(np.exp(x[1])),
        "floor": {"z": list(_FLOOR_Z), "value": [float(value) for value in floor]},
        "share": float(0.5 * expit(x[5])),
        "wing": float(np.exp(x[6])),
    }


def calibrate_measurement(measurement, own, flux, ivar, z, weights, *, frame="sdss", tag=None):
    """Fit what fits are worth to labelled spectra of quasars.

    Parameters
    ----------
    measurement : Measurement
        Its eigenspectra, limits and frames are used.
    own : `~specz_cnn.redshift.posterior.Posterior`
        Of the network, for the same spectra.
    flux, ivar : `~numpy.ndarray`, float32, shape (n, n_pixels)
    z : `~numpy.ndarray`, shape (n,)
        Labels in the pipeline's convention.
    weights : `~numpy.ndarray`, shape (n,)
    frame : str, optional
        Of the network.
    tag : str, optional
        Of the new measurement.

    Returns
    -------
    Measurement
    """
    u, u_net = np.log1p(z), np.log1p(own.z)
    near = np.isfinite(u_net) & (np.abs(u - u_net) < RIGHT)
    flux, ivar, u, u_net, weights = flux[near], ivar[near], u[near], u_net[near], weights[near]
    found = measurement.likelihood(flux, ivar, u_net, own.pdf[near], own.step, frame=frame)
    _, outliers, trough = measurement.judge(flux, ivar, u)
    use = ~measurement.leans(found, trough)
    share = max(float(np.round(weighted_quantile(outliers[use], _RARE, weights[use]), 3)), _LEAST_MANY)
    found, u, weights = found.rows(use), u[use], weights[use] / weights[use].sum()
    n_effective = 1 / np.sum(weights**2)

    def loss(x):
        # Weak priors keep what the labels do not determine.
        prior = 0.5 * np.sum(((x - _START) / _WIDTH) ** 2) / n_effective
        return prior - np.sum(weights * np.log(label_density(found, _model(x), u) + _LEAST_DENSITY))

    simplex = np.vstack([_START, _START + 0.5 * np.diag(_WIDTH)])
    options = {"initial_simplex": simplex, "maxfev": 700, "xatol": 0.02, "fatol": 1e-4}
    model = _model(minimize(loss, _START, method="Nelder-Mead", options=options).x)
    interval = interval_of(peak_probability(found, model)[1], found.centre)
    half = np.where(u > interval.middle, interval.high - interval.middle, interval.middle - interval.low)
    pull = np.abs(u - interval.middle) / half
    factor = {"z": [], "value": []}
    for low, high in pairwise(_CLASSES):
        some = (np.expm1(u) >= low) & (np.expm1(u) < high)
        if some.any():
            n = np.sum(weights[some]) ** 2 / np.sum(weights[some] ** 2)
            asked = np.log(weighted_quantile(pull[some], ONE_SIGMA, weights[some]))
            factor["z"].append(float(np.average(np.expm1(u[some]), weights=weights[some])))
            factor["value"].append(float(np.exp(asked * n / (n + _MANY))))
    dv = SPEED_OF_LIGHT * (interval.middle - u)
    report = {
        "n": int(use.sum()),
        "within_600": float(np.sum(weights * (np.abs(dv) < 600))),
        "nmad": nmad(dv, weights),
        "bias": float(weighted_quantile(dv, 0.5, weights)),
        "loss": float(loss_of(found, model, u, weights)),
    }
    limits = measurement.limits | {"outliers": share}
    return replace(
        measurement, model=model, factor=factor, limits=limits, report=report, tag=tag or measurement.tag
    )


def loss_of(found, model, u, weights):
    """Mean of -ln(density of the labels per 100 km/s + a little)."""
    return -np.average(np.log(label_density(found, model, u) + _LEAST_DENSITY), weights=weights)
