"""From the output of a network to p(z), and from p(z) to a redshift with errors and a runner-up.

Everything is vectorised over a batch and depends on one row at a time, so that a result does not depend on its neighbours.
Logits and what all bins go through are in single precision, in which networks answer; redshifts, errors and odds in double.  Probabilities live on bins of ``ln(1 + z)``, bin ``k`` from ``k * step`` to
``(k + 1) * step``; a width of ``d`` in ``ln(1 + z)`` is a velocity of ``c * d``.

A *calibration* is a plain dict, stored with the weights and fitted by `specz_cnn.redshift.calibration`; `IDENTITY` lists its
keys with values that change nothing:

``temperature``, ``floor``
    The logits are divided by the temperature; the share ``floor`` of p(z) is spread over all bins.  Both set the odds
    between peaks.
``shape``
    The width of a peak: within 3000 km/s probabilities are raised to the power ``1 / tau``, without changing their sum,
    with ``tau = exp(offset + slope * ln(width of the best peak in bins))``.  A network trained on targets a bin wide
    cannot say anything narrower by itself.
``wing``
    The share of p(z) that is convolved with a Gaussian of the given standard deviation (km/s): tails of the errors.
``estimate``
    ``kind`` of the point estimate: "mean" of p(z) within ``half_width`` (km/s) of the peak, or "median" of the peak.
``error``
    ``factor`` by which the half width of the central 68 % is multiplied, at given ``raw`` half widths (km/s); optionally
    ``redshift``, another factor at given ``z``: what real spectra scatter by is not the same everywhere.
``confidence``
    Maps from the logit of the probability within 3000 km/s to the logit of the confidence, as nodes ``x`` and ``y``:
    ``alone`` without a cross-check, ``agree`` and ``disagree`` with the model named ``check``.
``p_qso``
    The same kind of map for the probability of being a quasar.
``thresholds``
    For the flags: ``confidence`` (the least `certainty`), ``p_qso`` and ``delta``, the least ln(probability /
    probability of the runner-up).
``report``
    What the fit was made from and how good it is; not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, ndtr

from specz_cnn.results.distribution import (
    around,
    find_peak,
    moments,
    quantile,
    smoothed,
    window_odds,
    window_sum,
)
from specz_cnn.velocity import RIGHT, SPEED_OF_LIGHT

__all__ = [
    "IDENTITY",
    "Posterior",
    "apply_map",
    "certainty",
    "confidence_of",
    "error_factor",
    "posterior",
    "split_output",
]


_RUNNER_UP = 2 * RIGHT  # the second peak is farther from the first than this
_TINY = 1e-12  # least probability, and least doubt, that double precision still resolves
_LOWEST = -80.0  # least logarithm of a probability over that of the highest bin
_ROWS = 32  # processed at a time, so that arrays stay in the processor's cache
_CENTRAL = 0.15865525393145707, 0.8413447460685429  # quantiles of a normal distribution at -1 and +1 sigma
_Z_BINS = {"n": 2272, "step": 4e-4 * float(np.log(10))}  # for networks that return one number

_NO_MAP: dict[str, list[float]] = {"x": [], "y": []}

#: The calibration that changes nothing.
IDENTITY = {
    "schema": 1,
    "temperature": 1.0,
    "floor": 0.0,
    "shape": {"offset": 0.0, "slope": 0.0},
    "wing": {"share": 0.0, "width": 1000.0},
    "estimate": {"kind": "mean", "half_width": 1500.0},
    "error": {"raw": [], "factor": []},
    "confidence": {"alone": _NO_MAP, "agree": _NO_MAP, "disagree": _NO_MAP, "check": ""},
    "p_qso": _NO_MAP,
    "thresholds": {"confidence": 0.9, "p_qso": 0.5, "delta": 1.0},
    "report": {},
}


@dataclass(frozen=True)
class Posterior:
    """Probability distributions of a batch of spectra, and what follows from them.

    Parameters
    ----------
    step : float
        Width of the bins in ln(1 + z).
    pdf : `~numpy.ndarray`, shape (n, n_bins)
        Probability of each bin, given that the object is a quasar; rows sum to 1.
    z, z_err, z_lo, z_hi : `~numpy.ndarray`, shape (n,)
        Redshift, calibrated 68 % half width, and calibrated bounds of the central 68 % of the best peak.
    score : `~numpy.ndarray`, shape (n,)
        What the confidence is a function of: the logit of the probability within 3000 km/s of ``z``; for a network
        that returns one number, minus the logarithm of its error in units of 1000 km/s.
    width : `~numpy.ndarray`, shape (n,)
        Uncalibrated half width in km/s.
    z_second, p_second : `~numpy.ndarray`, shape (n,)
        The best redshift farther than 6000 km/s from ``z``, and the probability within 3000 km/s of it.
    p_qso_logit : `~numpy.ndarray`, shape (n,)
        Calibrated log odds of being a quasar; NaN where the network cannot tell.
    """

    step: float
    pdf: np.ndarray
    z: np.ndarray
    z_err: np.ndarray
    z_lo: np.ndarray
    z_hi: np.ndarray
    score: np.ndarray
    width: np.ndarray
    z_second: np.ndarray
    p_second: np.ndarray
    p_qso_logit: np.ndarray

    @property
    def p_qso(self):
        """Probability of being a quasar, shape (n,)."""
        return expit(self.p_qso_logit)

    @property
    def delta(self):
        """ln(probability of the peak / probability of the runner-up), shape (n,); NaN without a runner-up."""
        with np.errstate(divide="ignore"):
            return np.log(expit(self.score)) - np.log(self.p_second)


def posterior(output, *, bins=None, calibration=None, z_range=(0.0, 7.1), brief=False):
    """Turn a network's output into calibrated distributions and estimates.

    Parameters
    ----------
    output : array_like
        Logits of shape (n, n_bins + 1), the last column "not a quasar"; with one more column, ln(1 + z) as the network
        itself puts it, this is the redshift, whatever the peak of the bins.  Or, for a network that returns one number,
        an array of shape (n, 2): ln(1 + z) and the standard deviation of its Monte-Carlo samples.
    bins : dict, optional
        ``{"n": n_bins, "step": width in ln(1 + z)}`` of the logits; None for a network that returns one number.
    calibration : dict, optional
        See the module; keys that are missing have the values of `IDENTITY`.
    z_range : tuple of float, optional
        Range over which a network that returns one number spreads what its Gaussian does not hold.
    brief : bool, optional
        Of logits, ``z``, ``score`` and ``p_qso_logit`` alone, all that is asked of a cross-check; no bins, the rest NaN.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If the shape of the output does not fit.
    """
    output = np.asarray(output, dtype=np.float64)
    calibration = {**IDENTITY, **(calibration or {})}
    columns = [2] if bins is None else [bins["n"] + 1, bins["n"] + 2]
    if output.ndim != 2 or output.shape[1] not in columns:
        raise ValueError(f"output must have shape (n, {columns[0]}), not {output.shape}")
    if bins is None:
        return _from_numbers(output, calibration, z_range)
    parts = [
        _from_logits(*split_output(output[start : start + _ROWS], bins), bins["step"], calibration, brief)
        for start in range(0, max(len(output), 1), _ROWS)
    ]
    names = [name for name in parts[0] if name != "step"]
    return Posterior(step=bins["step"], **{name: np.concatenate([p[name] for p in parts]) for name in names})


def split_output(output, bins):
    """The logits of an output, and ln(1 + z) as the network itself puts it, None where it leaves that to the logits.

    Parameters
    ----------
    output : `~numpy.ndarray`, shape (n, n_bins + 1) or (n, n_bins + 2)
    bins : dict

    Returns
    -------
    logits : `~numpy.ndarray`, shape (n, n_bins + 1)
    u : `~numpy.ndarray`, shape (n,), or None
    """
    n = bins["n"] + 1
    return output[:, :n], output[:, n] if output.shape[1] > n else None


def _from_logits(logits, own, step, calibration, brief):
    """The fields of a `Posterior` for a few rows of logits; ``own`` is the network's own ln(1 + z), or None."""
    # Differences from the highest: logits that are a chi-squared may be of any size.
    logits = (logits - logits[:, :-1].max(1, keepdims=True)).astype(np.float32)
    log_p = logits[:, :-1] / np.float32(calibration["temperature"])
    raw = _exp(log_p)
    raw /= raw.sum(1, keepdims=True)
    centre = (
        find_peak(raw, step) if own is None else np.clip((own / step).astype(np.int64), 0, raw.shape[1] - 1)
    )
    pdf = reshape_peaks(raw, log_p, centre, step, calibration)
    u, low, high = estimate(raw, pdf, centre, step, calibration["estimate"])
    u = u if own is None else own
    found = {
        "z": np.expm1(u),
        # Before the floor, which would make all good spectra alike.
        "score": window_odds(pdf, u, step, _TINY),
        "p_qso_logit": apply_map(quasar_odds(logits), calibration["p_qso"]),
    }
    if brief:
        names = ("z_err", "z_lo", "z_hi", "width", "z_second", "p_second")
        return found | {"pdf": np.empty((len(u), 0))} | dict.fromkeys(names, np.full(len(u), np.nan))
    floor = calibration["floor"]
    pdf *= ((1 - floor) / pdf.sum(1, keepdims=True)).astype(pdf.dtype)
    pdf += np.float32(floor / pdf.shape[1])
    width = 0.5 * SPEED_OF_LIGHT * (high - low)
    factor = error_factor(width, calibration["error"], u)
    u_second, p_second = _runner_up(pdf, u, step)
    pdf = pdf.astype(np.float64)
    pdf /= pdf.sum(1, keepdims=True)
    inside = np.clip(u, low, high)
    return found | {
        "pdf": pdf,
        "z_err": np.exp(u) * factor * width / SPEED_OF_LIGHT,
        "z_lo": np.expm1(u - factor * (inside - low)),
        "z_hi": np.expm1(u + factor * (high - inside)),
        "width": width,
        "z_second": np.expm1(u_second),
        "p_second": p_second,
    }


def _from_numbers(output, calibration, z_range):
    """The `Posterior` of a network that returns one number and its spread: a Gaussian, the rest spread evenly."""
    u, spread = output.T
    width = np.maximum(SPEED_OF_LIGHT * spread, 1.0)
    sigma = error_factor(width, calibration["error"], u) * width / SPEED_OF_LIGHT
    score = -np.log(width / 1000)
    confidence = confidence_of(score, calibration, number=True)
    n_bins, step = _Z_BINS["n"], _Z_BINS["step"]
    edges = step * np.arange(n_bins + 1)
    low, high = np.log1p(z_range[0]), np.log1p(z_range[1])
    even = np.diff(np.clip(edges, low, high)) / (high - low)
    peak = np.diff(ndtr((edges - u[:, None]) / sigma[:, None]), axis=1)
    total = peak.sum(1, keepdims=True)
    share = np.where(np.isfinite(confidence), confidence, 1.0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        # A number far outside the bins leaves no Gaussian to speak of.
        pdf = np.where(total > 1e-6, share * peak / total + (1 - share) * even, even)
    nan = np.full(u.shape, np.nan)
    return Posterior(
        step=step,
        pdf=pdf,
        z=np.expm1(u),
        z_err=np.exp(u) * sigma,
        z_lo=np.expm1(u - sigma),
        z_hi=np.expm1(u + sigma),
        score=score,
        width=width,
        z_second=nan,
        p_second=nan,
        p_qso_logit=nan,
    )


def quasar_odds(logits):
    """Uncalibrated log odds of being a quasar: shape (n, n_bins + 1) to (n,)."""
    # As scipy's logsumexp, which takes a third of a millisecond however few the rows.
    highest = logits[:, :-1].max(1)
    total = _exp(logits[:, :-1] - highest[:, None]).sum(1)
    return highest + np.log(total.astype(np.float64)) - logits[:, -1]


def apply_map(x, nodes):
    """A monotone map given by nodes, linear between them and constant beyond; without nodes, the identity.

    Parameters
    ----------
    x : `~numpy.ndarray`
    nodes : dict
        ``{"x": [...], "y": [...]}``, ``x`` ascending.

    Returns
    -------
    `~numpy.ndarray`
    """
    return np.interp(x, nodes["x"], nodes["y"]) if len(nodes["x"]) else np.asarray(x, dtype=np.float64)


def confidence_of(score, calibration, *, agree=None, check="", number=False):
    """Calibrated probability that the redshift is right within 3000 km/s, given that the object is a quasar.

    Parameters
    ----------
    score : `~numpy.ndarray`, shape (n,)
        `Posterior.score`.
    calibration : dict
    agree : `~numpy.ndarray`, shape (n,), optional
        1 where a cross-check gave the same redshift within 3000 km/s, 0 where it gave another, NaN where it gave none.
    check : str, optional
        Name of the cross-check; its verdict counts only if the calibration was made with the same one.
    number : bool, optional
        Whether the score is that of a network that returns one number, which has no confidence before calibration.

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
    """
    maps = {**IDENTITY["confidence"], **calibration.get("confidence", {})}
    if number and not len(maps["alone"]["x"]):
        return np.full(np.shape(score), np.nan)
    result = apply_map(score, maps["alone"])
    if agree is not None and check and check == maps["check"]:
        for name, value in (("agree", 1), ("disagree", 0)):
            if len(maps[name]["x"]):
                result = np.where(agree == value, apply_map(score, maps[name]), result)
    return expit(result)


def certainty(confidence, p_qso):
    """Probability that an object is a quasar and its redshift right; a p_qso of NaN, unknown, does not count.

    Parameters
    ----------
    confidence, p_qso : `~numpy.ndarray`, shape (n,)

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
    """
    return confidence * np.where(np.isnan(p_qso), 1.0, p_qso)


def error_factor(width, nodes, u=None):
    """Factor by which a raw half width (km/s) is multiplied, interpolated in its logarithm, and in u = ln(1 + z)."""
    factor = np.ones_like(width)
    if len(nodes["raw"]):
        factor = np.interp(np.log(np.maximum(width, 1e-3)), np.log(nodes["raw"]), nodes["factor"])
    if u is not None and "redshift" in nodes:
        factor = factor * np.interp(u, np.log1p(nodes["redshift"]["z"]), nodes["redshift"]["factor"])
    return factor


def reshape_peaks(p, log_p, centre, step, calibration):
    """Change the widths of peaks, but not the probability in each, and add wings; shape (n, n_bins).

    ``log_p`` is the logarithm of ``p`` above that of the highest bin.
    """
    offset, slope = calibration["shape"]["offset"], calibration["shape"]["slope"]
    if offset or slope:
        half = round(RIGHT / step)
        width = np.maximum(moments(p, centre, half)[1], 0.1)
        tau = np.clip(np.exp(offset + slope * np.log(width)), 0.1, 10)[:, None]
        sharp = _exp(log_p / tau.astype(log_p.dtype))
        p = sharp / window_sum(sharp, half) * window_sum(p, half)
    share, width = calibration["wing"]["share"], calibration["wing"]["width"]
    if share:
        p = (1 - share) * p + share * smoothed(p, width / (SPEED_OF_LIGHT * step))
    return p


def estimate(raw, pdf, centre, step, how):
    """Point estimate and central 68 % of the best peak in ln(1 + z): three arrays of shape (n,)."""
    half = round(RIGHT / step)
    local = around(pdf, centre, half)
    low, median, high = quantile(local, (_CENTRAL[0], 0.5, _CENTRAL[1]), step)
    start = (centre - half) * step
    if how["kind"] == "mean":
        near = max(round(how["half_width"] / (SPEED_OF_LIGHT * step)), 1)
        place = centre
        for _ in range(3):  # centre the window on its own mean
            mean = moments(raw, place, near)[0]
            place = np.clip(np.rint(mean).astype(np.int64), centre - half, centre + half)
        u = step * (mean + 0.5)
    else:
        u = start + median
    return np.maximum(u, 0.0), start + low, start + high


def _exp(x):
    # Several times as fast as numpy's.  Nothing is so improbable that single precision would not hold it.
    return torch.from_numpy(x).clamp(min=_LOWEST).exp_().numpy()


def _runner_up(pdf, u, step):
    """ln(1 + z) and probability of the best peak away from ``u``; NaN where there is none."""
    rest = pdf.copy()
    # Bins whose middle is that near.
    first = np.ceil((u - _RUNNER_UP) / step - 0.5).astype(np.int64)
    last = np.floor((u + _RUNNER_UP) / step - 0.5).astype(np.int64)
    for row, low, high in zip(rest, np.maximum(first, 0), np.maximum(last + 1, 0), strict=True):
        row[low:high] = 0.0
    centre = find_peak(rest, step)
    half = round(RIGHT / step)
    probability = around(rest, centre, half).sum(1)
    mean = step * (moments(rest, centre, half)[0] + 0.5)
    found = probability > 0
    return np.where(found, mean, np.nan), np.where(found, probability, np.nan)
