"""Fit the calibration of a network to its output on held-out, labelled spectra.

Step by step, each with few parameters and a proper score where there is one:

1. odds between peaks (temperature, floor): likelihood of the probability within 3000 km/s of the truth;
2. shape of the peaks (width, wing): likelihood of the truth within its peak, of the redshifts that are right;
3. the point estimate with the smallest errors;
4. errors: for each of a few classes of raw width, the factor that makes the interval hold 68 % of the truths, and for each
   range of redshift another, shrunk towards one where there are few spectra; then again by redshift with those spectra
   alone that one trusts about errors;
5. confidence and probability of being a quasar: monotone logistic maps, by maximum likelihood;
6. the thresholds of flags, so that at most one in a thousand unflagged redshifts is wrong.

What a calibration holds is described in `specz_cnn.redshift.posterior`.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp

from specz_cnn.redshift.monotone import effective_size, fit_monotone
from specz_cnn.redshift.posterior import (
    IDENTITY,
    certainty,
    confidence_of,
    error_factor,
    posterior,
    quasar_odds,
    reshape_peaks,
    split_output,
)
from specz_cnn.results.distribution import find_peak, smooth_cumulative
from specz_cnn.velocity import RIGHT, SPEED_OF_LIGHT, is_right, velocity_difference

__all__ = ["calibrate", "fit_errors", "fit_monotone"]

_SUBSET = 4000  # spectra from which the parameters of the distributions are fitted
_ESTIMATES = tuple({"kind": "mean", "half_width": width} for width in (800.0, 1500.0, 3000.0))
_ESTIMATES += ({"kind": "median", "half_width": 3000.0},)
_PER_CLASS = 80  # right redshifts, at least, in each class of width
_RANGES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5, 4.4, 5.5, 7.2)  # of redshift, for errors
_SHRINKAGE = 6.0  # spectra that say as much as the belief that errors are the same at every redshift
_DOUBT = 0.9  # SMALL_DELTA is raised where the redshift is right less often than this


def calibrate(
    output,
    z_true,
    is_quasar,
    *,
    bins=None,
    weights=None,
    precision_weights=None,
    error_weights=None,
    z_check=None,
    check="",
    wrong=1e-3,
    z_range=(0.0, 7.1),
):
    """Fit a calibration.

    Parameters
    ----------
    output : array_like, shape (n, n_bins + 1), (n, n_bins + 2) or (n, 2)
        `specz_cnn.models.output.network_output` of spectra that took no part in the training.
    z_true : array_like, shape (n,)
        True redshifts; those of other objects than quasars do not count.
    is_quasar : array_like of bool, shape (n,)
    bins : dict, optional
        ``{"n": n_bins, "step": width in ln(1 + z)}``; None for a network that returns one number.
    weights : array_like, shape (n,), optional
        How much each spectrum counts, for example to merge simulated and real ones, or 1 / (number of observations of
        the object).  Probabilities are calibrated for the mixture that the weights describe.
    precision_weights : array_like, shape (n,), optional
        Weights for steps 2 to 4, which concern the precision of redshifts that are right; ``weights`` if not given.
        Real spectra, however few, know more about it than simulated ones, which know more about rare failures.
    error_weights : array_like, shape (n,), optional
        Weights for the last word on errors in each range of redshift; none if not given.  With zero for what is simulated no
        error is smaller than real spectra of that range show, as far as there are enough of them.
    z_check : array_like, shape (n,), optional
        Redshifts of the cross-check model for the same spectra, NaN where it has none.
    check : str, optional
        Its name; needed with ``z_check``.
    wrong : float, optional
        Share of wrong redshifts allowed among those without a flag.
    z_range : tuple of float, optional
        Range the network was trained for; quasars outside do not count.

    Returns
    -------
    dict
        For ``ModelInfo.calibration``, plain numbers and lists; ``"report"`` says how good it is on the same spectra.

    Raises
    ------
    ValueError
        If the shapes do not match or there are fewer than 50 quasars in the range.
    """
    output = np.asarray(output, dtype=np.float64)
    z_true, is_quasar = np.asarray(z_true, dtype=np.float64), np.asarray(is_quasar, dtype=bool)
    weights = np.ones(len(output)) if weights is None else np.asarray(weights, dtype=np.float64)
    precision = weights if precision_weights is None else np.asarray(precision_weights, dtype=np.float64)
    trusted = np.zeros_like(weights) if error_weights is None else np.asarray(error_weights, dtype=np.float64)
    if len({len(a) for a in (output, z_true, is_quasar, weights, precision, trusted)}) > 1:
        raise ValueError("output, z_true, is_quasar and weights must have the same length")
    if z_check is not None and not check:
        raise ValueError("z_check needs the name of the model it comes from")
    in_range = (z_true >= z_range[0]) & (z_true < z_range[1])
    use = is_quasar & in_range & (weights > 0) & np.isfinite(output).all(1)
    if use.sum() < 50:
        raise ValueError(f"a calibration needs at least 50 quasars in {z_range}, not {use.sum()}")
    calibration = copy.deepcopy(IDENTITY)
    truth, weight, precision = np.log1p(z_true[use]), weights[use], precision[use]
    if bins is not None:
        logits, own = split_output(output, bins)
        some = _subset(weight)
        calibration |= _fit_odds(logits[use][some], truth[some], weight[some], bins["step"])
        some = _subset(precision)
        data = logits[use][some], truth[some], precision[some]
        calibration |= _fit_shape(*data, bins["step"], calibration)
        if own is None:
            calibration["estimate"] = _choose_estimate(*data, bins, calibration)
    found = posterior(output[use], bins=bins, calibration=calibration, z_range=z_range)
    right = is_right(found.z, np.expm1(truth))
    error = SPEED_OF_LIGHT * np.abs(np.log1p(found.z) - truth)
    calibration["error"] = fit_errors(found.width, error, right, precision, truth, trusted[use])
    agree = None
    if z_check is not None:
        agree = _agreement(found.z, np.asarray(z_check, dtype=np.float64)[use])
    calibration["confidence"] = _fit_confidence(found.score, right, weight, agree, check)
    if bins is not None and (~is_quasar & (weights > 0)).any():
        calibration["p_qso"] = fit_monotone(quasar_odds(logits), is_quasar, weights)
    calibration["thresholds"] = dict(IDENTITY["thresholds"], delta=_choose_delta(found.delta, right, weight))
    counted = (use | ~is_quasar) & (weights > 0) & np.isfinite(output).all(1)
    calibration["thresholds"]["confidence"] = _choose_confidence(
        output[counted],
        np.where(is_quasar, np.log1p(z_true), np.nan)[counted],
        weights[counted],
        calibration,
        None if z_check is None else np.asarray(z_check, dtype=np.float64)[counted],
        check,
        bins,
        z_range,
        wrong,
    )
    calibration["report"] = _report(
        output, truth, use, is_quasar, weights, bins, calibration, agree, check, z_range
    )
    return calibration


def _subset(weight):
    """Indices of those that a fit of a few parameters needs: all with large weights, and an even choice of the rest."""
    n_needed = min(_SUBSET, np.count_nonzero(weight))
    heavy = weight > 4 * weight.sum() / n_needed
    rest = np.flatnonzero(~heavy & (weight > 0))
    step = max(-(-rest.size // n_needed), 1)
    return np.sort(np.concatenate([np.flatnonzero(heavy), rest[::step]]))


def _agreement(z, z_check):
    """1 where both agree within 3000 km/s, 0 where not, NaN where there is no second redshift."""
    return np.where(np.isfinite(z) & np.isfinite(z_check), is_right(z, z_check), np.nan)


def _fit_odds(logits, truth, weight, step):
    """Temperature and floor that maximise the probability within 3000 km/s of the truth."""
    quasar = logits[:, :-1]
    n_bins = quasar.shape[1]
    place = np.arange(n_bins) + 0.5
    window = np.abs(place - truth[:, None] / step) <= RIGHT / step
    even = window.sum(1) / n_bins

    def best_floor(temperature):
        inside = np.where(window, log_softmax(quasar / temperature, axis=1), -np.inf)
        mass = np.exp(logsumexp(inside, axis=1))

        def loss(log_floor):
            floor = np.exp(log_floor)
            return -np.average(np.log((1 - floor) * mass + floor * even + 1e-300), weights=weight)

        found = minimize_scalar(loss, bounds=(np.log(1e-5), np.log(0.3)), method="bounded")
        return found.fun, float(np.exp(found.x))

    found = minimize_scalar(
        lambda x: best_floor(np.exp(x))[0],
        bounds=np.log([0.3, 5.0]),
        method="bounded",
        options={"xatol": 0.01},
    )
    temperature = float(np.exp(found.x))
    return {"temperature": temperature, "floor": best_floor(temperature)[1]}


def _fit_shape(logits, truth, weight, step, calibration):
    """Width of the peaks and wings that maximise the density at the truth, given that the peak is the right one."""
    log_p = log_softmax(logits[:, :-1] / calibration["temperature"], axis=1)
    centre = find_peak(np.exp(log_p), step)
    half = round(RIGHT / step)
    reach = 3 * half
    start = centre - reach
    # Work on the surroundings of the peak alone; the edges of the cut matter to nobody within one window of the peak.
    index = start[:, None] + np.arange(2 * reach + 1)
    inside = (index >= 0) & (index < log_p.shape[1])
    local = np.where(inside, np.take_along_axis(log_p, np.clip(index, 0, log_p.shape[1] - 1), 1), -700.0)
    place = truth / step - start
    right = np.abs(place - reach - 0.5) < half
    local, place, weight = local[right], place[right], weight[right]
    middle = np.full(len(local), reach)
    probability, above = np.exp(local), local - local.max(1, keepdims=True)
    rows, n_spectra = np.arange(len(local)), effective_size(weight)

    def parameters(x):
        return {
            "shape": {"offset": float(x[0]), "slope": float(x[1])},
            "wing": {"share": float(0.5 * expit(x[2])), "width": float(np.clip(np.exp(x[3]), 200, 1500))},
        }

    def loss(x):
        p = reshape_peaks(probability, above, middle, step, calibration | parameters(x))[
            :, reach - half : reach + half + 1
        ]
        cumulative = smooth_cumulative(p / p.sum(1, keepdims=True))
        # Density at the truth: the slope of the cumulative distribution over a quarter of a bin.
        fine = (cumulative.shape[1] - 1) // (2 * half + 1)
        sample = np.clip(((place - reach + half) * fine).astype(np.int64), 2, cumulative.shape[1] - 3)
        density = (cumulative[rows, sample + 2] - cumulative[rows, sample - 2]) * fine / 4
        # Weak priors keep parameters that the data do not determine near "no change".
        prior = 0.5 * ((x[0] / 1.0) ** 2 + (x[1] / 0.3) ** 2 + ((x[3] - np.log(700)) / 0.5) ** 2) / n_spectra
        return -np.average(np.log(density + 1e-9), weights=weight) + prior

    if not len(local):
        return {}
    simplex = np.array(
        [[0, 0, -3, 6.5], [-0.7, 0, -3, 6.5], [0, 0.3, -3, 6.5], [0, 0, -1, 6.5], [0, 0, -3, 7.0]]
    )
    found = minimize(
        loss,
        simplex[0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 150, "xatol": 0.02, "fatol": 1e-4},
    )
    return parameters(found.x)


def _choose_estimate(logits, truth, weight, bins, calibration):
    """The point estimate whose central 68 % of errors is narrowest, if that is more than an accident."""

    def spread(how):
        z = posterior(logits, bins=bins, calibration=calibration | {"estimate": how}).z
        error = np.abs(np.log1p(z) - truth)
        prior = 0.97 if how == IDENTITY["estimate"] else 1.0
        return prior * _weighted_quantile(np.minimum(error, RIGHT), weight, 0.68)

    return dict(min(_ESTIMATES, key=spread))


def fit_errors(width, error, right, weight, u, trusted=None):
    """Factors on the raw widths (km/s) that make intervals hold 68.3 % of the truths, of redshifts that are right."""
    trusted = np.zeros_like(weight) if trusted is None else trusted
    width, error, weight, u, trusted = (values[right] for values in (width, error, weight, u, trusted))
    if not width.size:
        return dict(IDENTITY["error"])
    n_classes = int(np.clip(effective_size(weight) // _PER_CLASS, 1, 8))
    order = np.argsort(width, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    raw, factor = [], []
    for part in np.split(order, np.searchsorted(share, np.arange(1, n_classes) / n_classes)):
        if part.size and effective_size(weight[part]) >= 10:
            raw.append(float(np.exp(np.average(np.log(np.maximum(width[part], 1e-3)), weights=weight[part]))))
            factor.append(_weighted_quantile(error[part] / width[part], weight[part], 0.6827))
    if not raw:
        return dict(IDENTITY["error"])
    # A wider peak never gets a smaller error.
    calibrated = np.maximum.accumulate(np.array(raw) * factor)
    nodes = {"raw": raw, "factor": (calibrated / raw).tolist()}
    for some in (weight, trusted):
        # What the first pass has mended is in the pulls of the second.
        pull = error / (width * error_factor(width, nodes, u))
        before = nodes.get("redshift", {}).get("factor", 1.0)
        more = _errors_by_redshift(pull, some, u)
        nodes |= {"redshift": more | {"factor": (np.array(more["factor"]) * before).tolist()}}
    return nodes


def _errors_by_redshift(pull, weight, u):
    """Factor by which errors are off in ranges of redshift, less so where few spectra say it."""
    z, factor = [], []
    for low, high in pairwise(_RANGES):
        here = (u >= np.log1p(low)) & (u < np.log1p(high)) & (weight > 0)
        n = effective_size(weight[here])
        found = _weighted_quantile(pull[here], weight[here], 0.6827) if n >= 3 else 1.0
        z.append(float(np.expm1(0.5 * (np.log1p(low) + np.log1p(high)))))
        factor.append(float(max(found, 1e-3) ** (n / (n + _SHRINKAGE))))
    return {"z": z, "factor": factor}


def _weighted_quantile(values, weight, level):
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order]) - 0.5 * weight[order]
    return float(np.interp(level * weight.sum(), share, values[order]))


def _fit_confidence(score, right, weight, agree, check):
    """The maps to confidence: without a cross-check, and given its verdict."""
    maps = copy.deepcopy(IDENTITY["confidence"])
    maps["alone"] = fit_monotone(score, right, weight)
    if agree is not None:
        maps["check"] = check
        for name, value in (("agree", 1), ("disagree", 0)):
            these = agree == value
            if these.sum() >= 20:
                maps[name] = fit_monotone(score[these], right[these], weight[these])
    return maps


def _choose_delta(delta, right, weight):
    """Threshold of SMALL_DELTA: where the curve of right redshifts against delta crosses a level."""
    known = np.isfinite(delta)
    if known.sum() < 20:
        return 0.0
    nodes = fit_monotone(delta[known], right[known], weight[known])
    level = np.log(_DOUBT / (1 - _DOUBT))
    # At the ends of the curve everything or nothing is in doubt.
    return max(float(np.interp(level, nodes["y"], nodes["x"])), 0.0) if nodes["y"][0] < level else 0.0


def _choose_confidence(output, truth, weight, calibration, z_check, check, bins, z_range, wrong):
    """Threshold of LOW_CONFIDENCE; ``truth`` is ln(1 + z), NaN for what is no quasar.

    The least one with which, of those that no flag catches, few enough are wrong (no quasar has no right redshift), and
    few enough of the other objects remain.
    """
    found = posterior(output, bins=bins, calibration=calibration, z_range=z_range)
    right, other = is_right(found.z, np.expm1(truth)), np.isnan(truth)
    agree = None if z_check is None else _agreement(found.z, z_check)
    confidence = confidence_of(found.score, calibration, agree=agree, check=check, number=bins is None)
    sure = certainty(confidence, found.p_qso)
    limits = calibration["thresholds"]
    ok = ~(found.delta < limits["delta"]) & ~(found.p_qso < limits["p_qso"])
    if bins is None:
        ok &= ~other  # a network that returns one number leaves these to its cross-check
    if agree is not None:
        ok &= agree != 0
    order = np.argsort(-sure, kind="stable")
    order = order[ok[order]]
    total, bad = np.cumsum(weight[order]), np.cumsum(weight[order] * ~right[order])
    # One more wrong than was seen, because the set is chosen by the very spectra that it is counted on.
    enough = (bad + weight.mean() <= wrong * total) | (bad == 0)
    if other.any():
        enough &= np.cumsum(weight[order] * other[order]) <= wrong * weight[other].sum()
    fine = np.flatnonzero(enough)
    return float(sure[order[fine[-1]]]) if fine.size else 1.0


def _report(output, truth, use, is_quasar, weights, bins, calibration, agree, check, z_range):
    """How good the calibration is on the spectra it was fitted to."""
    found = posterior(output[use], bins=bins, calibration=calibration, z_range=z_range)
    weight = weights[use]
    dv = velocity_difference(found.z, np.expm1(truth))
    right = is_right(found.z, np.expm1(truth))
    pull = (found.z - np.expm1(truth)) / found.z_err

    def share(values, where=True):
        return float(np.average(values[where], weights=weight[where])) if np.any(where) else None

    everything = np.ones(right.size, dtype=bool)
    confidence = confidence_of(found.score, calibration, agree=agree, check=check, number=bins is None)
    limits = calibration["thresholds"]
    unflagged = (certainty(confidence, found.p_qso) >= limits["confidence"]) & ~(
        found.delta < limits["delta"]
    )
    if agree is not None:
        unflagged &= agree != 0
    report = {
        "n_quasars": int(use.sum()),
        "n_others": int((~is_quasar).sum()),
        "wrong": 1 - share(right, everything),
        "within_600": share(np.abs(dv) < 600, everything),
        "nmad": 1.4826 * _weighted_quantile(np.abs(dv[right]), weight[right], 0.5),
        "pull_nmad": 1.4826 * _weighted_quantile(np.abs(pull[right]), weight[right], 0.5),
        "within_z_err": share(np.abs(pull) < 1, everything),
        "mean_confidence": share(confidence, everything),
        "unflagged": share(unflagged, everything),
        "wrong_unflagged": share(~right, unflagged),
    }
    if bins is not None and (~is_quasar).any():
        p_qso = posterior(output, bins=bins, calibration=calibration, z_range=z_range).p_qso
        called = p_qso >= limits["p_qso"]
        report["completeness"] = float(np.average(called[is_quasar], weights=weights[is_quasar]))
        true, false = weights[called & is_quasar].sum(), weights[called & ~is_quasar].sum()
        report["purity"] = float(true / (true + false)) if true + false > 0 else None
    return report
