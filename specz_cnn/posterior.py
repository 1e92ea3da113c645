"""From the output of a network to p(z), and from p(z) to a redshift with errors and a runner-up.

Everything is vectorised over a batch, computed in double precision, and depends on one row at a time, so that a result
does not depend on its neighbours.  Probabilities live on bins of ``ln(1 + z)``, bin ``k`` from ``k * step`` to
``(k + 1) * step``; a width of ``d`` in ``ln(1 + z)`` is a velocity of ``c * d``.

A *calibration* is a plain dict, stored with the weights and fitted by `specz_cnn.calibration`; `IDENTITY` lists its
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
    ``factor`` by which the half width of the central 68 % is multiplied, at given ``raw`` half widths (km/s).
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
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit, log_softmax, logit, ndtr

__all__ = [
    "IDENTITY",
    "RIGHT",
    "Posterior",
    "apply_map",
    "certainty",
    "confidence_of",
    "credible_intervals",
    "posterior",
]

_C = 299792.458  # km/s

#: Half width of the window, in ln(1 + z), within which a redshift counts as right: 3000 km/s.
RIGHT = 3000.0 / _C

_RUNNER_UP = 2 * RIGHT  # the second peak is farther from the first than this
_SAMPLES = 16  # per bin, of cumulative distributions
_TINY = 1e-12  # least probability, and least doubt, that double precision still resolves
_ROWS = 64  # processed at a time, so that arrays stay in the processor's cache
_CENTRAL = 0.15865525393145707, 0.8413447460685429  # quantiles of a normal distribution at -1 and +1 sigma
_Z_BINS = {"n": 2272, "step": 4e-4 * float(np.log(10))}  # for networks that return one number

# Cubic Hermite polynomials at the samples of a bin: of its mass, and of the slopes at its lower and upper edge.
_PLACE = np.arange(_SAMPLES) / _SAMPLES
_RISE = _PLACE**2 * (3 - 2 * _PLACE)
_LEAVE = _PLACE * (1 - _PLACE) ** 2
_ARRIVE = _PLACE**2 * (_PLACE - 1)

_NO_MAP = {"x": [], "y": []}

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


def posterior(output, *, bins=None, calibration=None, z_range=(0.0, 7.1)):
    """Turn a network's output into calibrated distributions and estimates.

    Parameters
    ----------
    output : array_like
        Logits of shape (n, n_bins + 1), the last column "not a quasar"; or, for a network that returns one number, an
        array of shape (n, 2): ln(1 + z) and the standard deviation of its Monte-Carlo samples.
    bins : dict, optional
        ``{"n": n_bins, "step": width in ln(1 + z)}`` of the logits; None for a network that returns one number.
    calibration : dict, optional
        See the module; keys that are missing have the values of `IDENTITY`.
    z_range : tuple of float, optional
        Range over which a network that returns one number spreads what its Gaussian does not hold.

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
    columns = 2 if bins is None else bins["n"] + 1
    if output.ndim != 2 or output.shape[1] != columns:
        raise ValueError(f"output must have shape (n, {columns}), not {output.shape}")
    if bins is None:
        return _from_numbers(output, calibration, z_range)
    parts = [
        _from_logits(output[start : start + _ROWS], bins["step"], calibration)
        for start in range(0, max(len(output), 1), _ROWS)
    ]
    names = [name for name in parts[0] if name != "step"]
    return Posterior(step=bins["step"], **{name: np.concatenate([p[name] for p in parts]) for name in names})


def _from_logits(logits, step, calibration):
    """The fields of a `Posterior` for a few rows of logits."""
    log_p = log_softmax(logits[:, :-1] / calibration["temperature"], axis=1)
    raw = np.exp(log_p)
    centre = find_peak(raw, step)
    pdf = reshape_peaks(log_p, centre, step, calibration)
    pdf /= pdf.sum(1, keepdims=True)
    u, low, high = estimate(raw, pdf, centre, step, calibration["estimate"])
    # The score is taken before the floor, which would make all good spectra alike.
    mass = np.clip(window_probability(pdf, u, step), _TINY, 1 - _TINY)
    floor = calibration["floor"]
    pdf = (1 - floor) * pdf + floor / pdf.shape[1]
    width = 0.5 * _C * (high - low)
    factor = error_factor(width, calibration["error"])
    u_second, p_second = _runner_up(pdf, u, step)
    inside = np.clip(u, low, high)
    return {
        "pdf": pdf,
        "z": np.expm1(u),
        "z_err": np.exp(u) * factor * width / _C,
        "z_lo": np.expm1(u - factor * (inside - low)),
        "z_hi": np.expm1(u + factor * (high - inside)),
        "score": logit(mass),
        "width": width,
        "z_second": np.expm1(u_second),
        "p_second": p_second,
        "p_qso_logit": apply_map(quasar_odds(logits), calibration["p_qso"]),
    }


def _from_numbers(output, calibration, z_range):
    """The `Posterior` of a network that returns one number and its spread: a Gaussian, the rest spread evenly."""
    u, spread = output.T
    width = np.maximum(_C * spread, 1.0)
    sigma = error_factor(width, calibration["error"]) * width / _C
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
    return highest + np.log(np.exp(logits[:, :-1] - highest[:, None]).sum(1)) - logits[:, -1]


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


def error_factor(width, nodes):
    """Factor by which a raw half width (km/s) is multiplied, interpolated in its logarithm."""
    if not len(nodes["raw"]):
        return np.ones_like(width)
    return np.interp(np.log(np.maximum(width, 1e-3)), np.log(nodes["raw"]), nodes["factor"])


def window_sum(values, half):
    """Sum over ``2 * half + 1`` neighbouring bins, zeros beyond the ends: shape (n, n_bins) in and out.

    Sums of sums of 1, 2, 4, ... bins: exact to rounding even next to a peak 1e15 times higher, unlike a running sum.
    """
    n_bins, size = values.shape[1], 2 * half + 1
    block = np.zeros((len(values), n_bins + 2 * half))
    block[:, half : half + n_bins] = values
    total, offset, width = 0.0, 0, 1
    while True:
        if size & width:
            total = total + block[:, offset : offset + n_bins]
            offset += width
        if 2 * width > size:
            return total
        block = block[:, :-width] + block[:, width:]
        width *= 2


def find_peak(p, step):
    """Bin at the centre of the most probable stretch of p(z) about 3000 km/s wide: shape (n,)."""
    half = max(round(0.5 * RIGHT / step), 1)
    return window_sum(window_sum(p, half), half).argmax(1)


def _around(values, centre, half):
    """Bins ``centre - half`` to ``centre + half`` of each row, zeros beyond the ends."""
    n, n_bins = values.shape
    index = centre[:, None] + np.arange(-half, half + 1)
    # Bins beyond the ends may be anything that exists: what is taken from them is overwritten.
    local = values[np.arange(n)[:, None], index % n_bins]
    if n and (centre.min() < half or centre.max() >= n_bins - half):
        local[(index < 0) | (index >= n_bins)] = 0.0
    return local


def _moments(p, centre, half):
    """Mean (in bins) and standard deviation (in bins) of the part of p around a peak."""
    local = _around(p, centre, half)
    offset = np.arange(-half, half + 1)
    total = np.maximum(local.sum(1), 1e-300)
    mean = local @ offset / total
    variance = np.maximum(local @ offset**2 / total - mean**2, 0)
    return centre + mean, np.sqrt(variance)


def reshape_peaks(log_p, centre, step, calibration):
    """Change the widths of peaks, but not the probability in each, and add wings; shape (n, n_bins)."""
    p = np.exp(log_p)
    offset, slope = calibration["shape"]["offset"], calibration["shape"]["slope"]
    if offset or slope:
        half = round(RIGHT / step)
        width = np.maximum(_moments(p, centre, half)[1], 0.1)
        tau = np.clip(np.exp(offset + slope * np.log(width)), 0.1, 10)[:, None]
        sharp = np.exp((log_p - log_p.max(1, keepdims=True)) / tau)
        with np.errstate(invalid="ignore", divide="ignore"):
            p = np.where(sharp > 0, sharp * window_sum(p, half) / window_sum(sharp, half), 0.0)
    share, width = calibration["wing"]["share"], calibration["wing"]["width"]
    if share:
        p = (1 - share) * p + share * gaussian_filter1d(p, width / (_C * step), axis=1, mode="constant")
    return p


def quantile(masses, levels, step):
    """Quantiles within histograms, through a smooth monotone cumulative distribution.

    Parameters
    ----------
    masses : `~numpy.ndarray`, shape (n, m)
        Probabilities of consecutive bins.
    levels : sequence of float
    step : float
        Width of a bin.

    Returns
    -------
    list of `~numpy.ndarray`, shape (n,)
        For each level the distance from the lower edge of the first bin.
    """
    cumulative = smooth_cumulative(masses)
    cumulative /= cumulative[:, -1:]
    rows = np.arange(len(cumulative))
    result = []
    for level in levels:
        upper = np.clip((cumulative < level).sum(1), 1, cumulative.shape[1] - 1)
        below, above = cumulative[rows, upper - 1], cumulative[rows, upper]
        share = np.clip((level - below) / np.maximum(above - below, 1e-300), 0, 1)
        result.append(step / _SAMPLES * (upper - 1 + share))
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


def estimate(raw, pdf, centre, step, how):
    """Point estimate and central 68 % of the best peak in ln(1 + z): three arrays of shape (n,)."""
    half = round(RIGHT / step)
    local = _around(pdf, centre, half)
    low, median, high = quantile(local, (_CENTRAL[0], 0.5, _CENTRAL[1]), step)
    start = (centre - half) * step
    if how["kind"] == "mean":
        near = max(round(how["half_width"] / (_C * step)), 1)
        place = centre
        for _ in range(3):  # centre the window on its own mean
            mean = _moments(raw, place, near)[0]
            place = np.clip(np.rint(mean).astype(np.int64), centre - half, centre + half)
        u = step * (mean + 0.5)
    else:
        u = start + median
    return np.maximum(u, 0.0), start + low, start + high


def window_probability(pdf, u, step):
    """Probability within 3000 km/s of ``u``: shape (n,)."""
    n, n_bins = pdf.shape
    cumulative = np.zeros((n, n_bins + 1))
    np.cumsum(pdf, axis=1, out=cumulative[:, 1:])
    rows = np.arange(n)

    def below(x):
        place = np.minimum(np.maximum(x / step, 0), n_bins)
        index = np.minimum(place.astype(np.int64), n_bins - 1)
        first, second = cumulative[rows, index], cumulative[rows, index + 1]
        return first + (place - index) * (second - first)

    return below(u + RIGHT) - below(u - RIGHT)


def _runner_up(pdf, u, step):
    """ln(1 + z) and probability of the best peak away from ``u``; NaN where there is none."""
    bins = step * (np.arange(pdf.shape[1]) + 0.5)
    rest = np.where(np.abs(bins - u[:, None]) > _RUNNER_UP, pdf, 0.0)
    centre = find_peak(rest, step)
    half = round(RIGHT / step)
    probability = _around(rest, centre, half).sum(1)
    mean = step * (_moments(rest, centre, half)[0] + 0.5)
    found = probability > 0
    return np.where(found, mean, np.nan), np.where(found, probability, np.nan)


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
        If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not {level}")
    density = np.diff(smooth_cumulative(np.asarray(pdf, dtype=np.float64)[None])[0])
    # Shortest in velocity, that is in ln(1 + z), where bins are uniform and errors are.
    order = np.argsort(-density, kind="stable")
    n_chosen = int(np.searchsorted(np.cumsum(density[order]), level * density.sum())) + 1
    chosen = np.zeros(density.size + 2, dtype=np.int8)
    chosen[1 + order[:n_chosen]] = 1
    change = np.diff(chosen)
    ends = np.stack([np.flatnonzero(change == 1), np.flatnonzero(change == -1)], axis=1)
    return np.expm1(ends * (step / _SAMPLES))
