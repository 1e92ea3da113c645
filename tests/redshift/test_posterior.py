"""From logits to probabilities and redshifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from specz_cnn.redshift.posterior import IDENTITY, apply_map, confidence_of, posterior, quasar_odds
from specz_cnn.results.distribution import (
    credible_intervals,
    smooth_cumulative,
    smoothed,
    window_odds,
    window_sum,
)

STEP = 4e-4 * np.log(10)
BINS = {"n": 2272, "step": STEP}
C = 299792.458


def peaks(centres, widths, heights, *, other=-8.0, floor=-25.0):
    """Logits of a mixture of Gaussian peaks: centres in ln(1 + z), widths in bins, heights as probabilities."""
    bins = np.arange(BINS["n"]) + 0.5
    density = sum(
        height / width * np.exp(-0.5 * ((bins - centre / STEP) / width) ** 2)
        for centre, width, height in zip(centres, widths, heights, strict=True)
    )
    return np.append(np.log(density + np.exp(floor)), other)[None]


@settings(max_examples=20)
@given(st.floats(0.02, 2.05), st.floats(0.7, 2.0))
def test_a_single_peak(centre, width):
    found = posterior(peaks([centre], [width], [1.0]), bins=BINS)
    assert abs(np.log1p(found.z[0]) - centre) * C < 25  # a tenth of a bin
    assert found.z_err[0] == pytest.approx(width * STEP * (1 + found.z[0]), rel=0.12)
    assert found.z_hi[0] - found.z_lo[0] == pytest.approx(2 * found.z_err[0], rel=0.01)
    assert found.z_lo[0] < found.z[0] < found.z_hi[0]
    assert found.pdf.sum() == pytest.approx(1)
    assert found.p_qso[0] > 0.99


@settings(max_examples=20)
@given(st.floats(0.1, 1.0), st.floats(1.2, 2.0), st.floats(0.55, 0.999))
def test_two_peaks(first, second, share):
    found = posterior(peaks([first, second], [1.0, 1.0], [share, 1 - share]), bins=BINS)
    assert abs(np.log1p(found.z[0]) - first) * C < 5
    assert abs(np.log1p(found.z_second[0]) - second) * C < 20
    assert found.p_second[0] == pytest.approx(1 - share, abs=1e-3)
    assert found.delta[0] == pytest.approx(np.log(share / (1 - share)), rel=0.02, abs=0.01)
    intervals = credible_intervals(found.pdf[0], STEP, 0.9995)
    assert len(intervals) == 2


def test_rows_do_not_depend_on_their_neighbours():
    rng = np.random.default_rng(3)
    logits = np.concatenate([peaks([u], [w], [1.0]) for u, w in rng.uniform([0.1, 0.8], [2, 3], (70, 2))])
    logits += 0.5 * rng.normal(size=logits.shape)
    calibration = {
        "shape": {"offset": -0.5, "slope": 0.8},
        "wing": {"share": 0.05, "width": 900.0},
        "floor": 1e-3,
    }
    together = posterior(logits, bins=BINS, calibration=calibration)
    order = rng.permutation(70)
    shuffled = posterior(logits[order], bins=BINS, calibration=calibration)
    for name in ("z", "z_err", "z_lo", "z_hi", "score", "z_second", "p_second", "p_qso", "pdf"):
        np.testing.assert_allclose(getattr(shuffled, name), getattr(together, name)[order], rtol=1e-12)


def test_no_rows():
    found = posterior(np.empty((0, BINS["n"] + 1)), bins=BINS)
    assert found.z.shape == (0,)
    assert found.pdf.shape == (0, BINS["n"])


@pytest.mark.parametrize("centre", [1e-5, 0.5 * STEP, 2.0925])
def test_peaks_at_the_ends(centre):
    found = posterior(peaks([centre], [1.0], [1.0]), bins=BINS)
    assert 0 <= found.z[0] < 7.2
    assert abs(np.log1p(found.z[0]) - centre) * C < 400
    assert np.isfinite(found.z_err[0]) and found.z_err[0] > 0


def test_shape_narrows_peaks_but_keeps_their_odds():
    logits = peaks([0.6, 1.4], [1.0, 2.0], [0.7, 0.3])
    plain = posterior(logits, bins=BINS)
    narrow = posterior(logits, bins=BINS, calibration={"shape": {"offset": np.log(0.25), "slope": 0.0}})
    assert 0.3 * plain.width[0] < narrow.width[0] < 0.6 * plain.width[0]
    assert narrow.p_second[0] == pytest.approx(plain.p_second[0], abs=0.005)
    assert narrow.z[0] == pytest.approx(plain.z[0], abs=1e-9)


def test_temperature_floor_and_wing():
    logits = peaks([0.6, 1.4], [1.0, 1.0], [0.9, 0.1])
    warm = posterior(logits, bins=BINS, calibration={"temperature": 2.0})
    assert warm.p_second[0] > 0.2
    floored = posterior(logits, bins=BINS, calibration={"floor": 0.1})
    assert floored.pdf[0].min() == pytest.approx(0.1 / BINS["n"], rel=1e-6)
    winged = posterior(logits, bins=BINS, calibration={"wing": {"share": 0.3, "width": 1500.0}})
    assert winged.width[0] > posterior(logits, bins=BINS).width[0]
    assert winged.pdf.sum() == pytest.approx(1)


def test_error_factor_scales_errors_and_bounds():
    logits = peaks([0.6], [1.0], [1.0])
    plain = posterior(logits, bins=BINS)
    scaled = posterior(
        logits, bins=BINS, calibration={"error": {"raw": [100.0, 1000.0], "factor": [2.0, 2.0]}}
    )
    assert scaled.z_err[0] == pytest.approx(2 * plain.z_err[0])
    assert scaled.z_hi[0] - scaled.z[0] == pytest.approx(2 * (plain.z_hi[0] - plain.z[0]), rel=0.01)


@settings(max_examples=20)
@given(st.floats(0.01, 0.99))
def test_intervals_hold_their_level(level):
    pdf = posterior(peaks([0.6, 1.4], [1.5, 2.0], [0.7, 0.3]), bins=BINS).pdf[0]
    intervals = credible_intervals(pdf, STEP, level)
    edges = np.arange(pdf.size + 1) * STEP
    below = np.interp(np.log1p(intervals), edges, np.append(0, np.cumsum(pdf)))
    assert (below[:, 1] - below[:, 0]).sum() == pytest.approx(level, abs=0.06)
    assert np.all(np.diff(intervals.ravel()) > 0)


def test_intervals_of_a_gaussian():
    pdf = posterior(peaks([0.6], [2.0], [1.0]), bins=BINS).pdf[0]
    (interval,) = credible_intervals(pdf, STEP, 0.6827)
    half = 0.5 * np.diff(np.log1p(interval))[0]
    assert half == pytest.approx(2.0 * STEP, rel=0.05)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, np.nan])
def test_impossible_level(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        credible_intervals(np.full(10, 0.1), STEP, level)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, BINS["n"])])
def test_wrong_shapes(shape):
    with pytest.raises(ValueError, match="shape"):
        posterior(np.zeros(shape), bins=BINS)


def test_a_network_that_returns_one_number():
    output = np.array([[0.8, 0.01], [1.3, 0.02], [5.0, 0.01]])
    calibration = {"confidence": {"alone": {"x": [-5, 5], "y": [-3, 3]}}}
    found = posterior(output, calibration=calibration)
    np.testing.assert_allclose(np.log1p(found.z), output[:, 0])
    np.testing.assert_allclose(found.z_err, (1 + found.z) * output[:, 1])
    np.testing.assert_allclose(found.pdf.sum(1), 1)
    assert np.isnan(found.z_second).all() and np.isnan(found.p_qso).all()
    # The more certain of the two has the narrower peak and the higher confidence.
    confidence = confidence_of(found.score, calibration, number=True)
    assert confidence[0] > confidence[1]
    (low, high), *_ = credible_intervals(found.pdf[0], found.step, 0.2)
    assert low < found.z[0] < high
    assert np.isnan(confidence_of(found.score, IDENTITY, number=True)).all()


def test_confidence_depends_on_the_cross_check():
    score = np.array([2.0, 2.0, 2.0])
    maps = {
        "alone": {"x": [-5, 5], "y": [-5, 5]},
        "agree": {"x": [-5, 5], "y": [0, 10]},
        "disagree": {"x": [-5, 5], "y": [-10, 0]},
        "check": "other",
    }
    agree = np.array([1, 0, np.nan])
    confidence = confidence_of(score, {"confidence": maps}, agree=agree, check="other")
    assert confidence[0] > confidence[2] > confidence[1]
    # Another cross-check than that of the calibration has no say.
    other = confidence_of(score, {"confidence": maps}, agree=agree, check="another")
    np.testing.assert_allclose(other, confidence[2])


@given(st.integers(1, 60), st.integers(1, 15), st.integers(0, 10**6))
def test_window_sum(n, half, seed):
    values = np.random.default_rng(seed).exponential(size=(2, n))
    expected = [np.convolve(row, np.ones(2 * half + 1))[half : half + n] for row in values]
    np.testing.assert_allclose(window_sum(values, half), expected, rtol=1e-10)


def test_window_sum_next_to_a_high_peak():
    values = np.full((1, 50), 1e-30)
    values[0, 10] = 1.0
    assert window_sum(values, 3)[0, 30] == pytest.approx(7e-30)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "sigma"), [(2272, 5.1), (40, 0.3), (7, 3.0), (33, 2.0)])
def test_smoothed_is_the_filter_of_scipy(n, sigma, dtype):
    values = np.random.default_rng(n).exponential(size=(3, n)).astype(dtype)
    expected = gaussian_filter1d(values.astype(np.float64), sigma, axis=1, mode="constant")
    found = smoothed(values, sigma)
    assert found.dtype == dtype and found.shape == (3, n)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)


@given(st.floats(0, 2.1), st.integers(0, 10**6))
def test_odds_within_a_window(u, seed):
    """The same as of the integral of a histogram; p(z) need not be normalised."""
    p = np.random.default_rng(seed).exponential(size=(1, BINS["n"])) ** 4
    cumulative = np.append(0, np.cumsum(p)) / p.sum()
    ends = np.clip([(u - 3000 / C) / STEP, (u + 3000 / C) / STEP], 0, BINS["n"])
    inside = np.diff(np.interp(ends, np.arange(BINS["n"] + 1), cumulative))
    inside = np.clip(inside, 1e-12, 1 - 1e-12)
    found = window_odds(7 * p, np.array([u]), STEP, 1e-12)
    np.testing.assert_allclose(found, np.log(inside / (1 - inside)), rtol=1e-6, atol=1e-6)


def test_doubt_of_any_size_is_seen():
    """One minus a probability in single precision would be a multiple of 6e-8, or nothing."""
    p = np.zeros((2, BINS["n"]), np.float32)
    p[:, 1000], p[0, 10], p[1, 10] = 1, 1e-10, 1e-20
    found = window_odds(p, np.full(2, 1000.5 * STEP), STEP, 1e-12)
    np.testing.assert_allclose(found, [np.log(1e10), np.log(1e12)], rtol=1e-5)


@pytest.mark.parametrize("size", [1.0, 1e6, 1e9])
def test_logits_of_any_size(size):
    """A chi-squared of a bright star has digits that single precision does not hold."""
    logits = peaks([0.7], [3.0], [1.0])
    one, other = (posterior(values, bins=BINS) for values in (logits, logits - size))
    for name in ("z", "z_err", "score", "p_qso_logit"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4)


def test_apply_map():
    x = np.array([-10.0, 0.5, 10.0])
    np.testing.assert_array_equal(apply_map(x, {"x": [], "y": []}), x)
    np.testing.assert_allclose(apply_map(x, {"x": [0, 1], "y": [2, 4]}), [2, 3, 4])


@pytest.mark.parametrize("n_bins", [1, 2, 3, 23, 400])
def test_cumulative_distribution_is_the_monotone_interpolation_of_scipy(n_bins):
    rng = np.random.default_rng(n_bins)
    masses = rng.random((40, n_bins)) ** rng.integers(1, 30, (40, 1))
    masses[rng.random(masses.shape) < 0.3] = 0
    masses /= np.maximum(masses.sum(1, keepdims=True), 1e-3)
    edges = np.pad(np.cumsum(masses, axis=1), ((0, 0), (1, 0)))
    expected = PchipInterpolator(np.arange(n_bins + 1), edges, axis=1)(np.arange(16 * n_bins + 1) / 16)
    np.testing.assert_allclose(smooth_cumulative(masses), expected, atol=1e-12)


def test_odds_of_extreme_logits():
    logits = np.array([[1000.0, 1000.0, 0.0], [-1000.0, -2000.0, 5.0]])
    np.testing.assert_allclose(quasar_odds(logits), [1000 + np.log(2), -1005])


def test_brief_is_the_same():
    logits = np.random.default_rng(5).normal(0, 3, (40, BINS["n"] + 1))
    calibration = {"temperature": 0.9, "shape": {"offset": -0.5, "slope": 0.2}, "floor": 1e-4}
    long, brief = (posterior(logits, bins=BINS, calibration=calibration, brief=b) for b in (False, True))
    for name in ("z", "score", "p_qso_logit"):
        assert np.array_equal(getattr(long, name), getattr(brief, name))
    assert brief.pdf.shape == (40, 0)
    assert np.isnan(brief.z_err).all()


@pytest.mark.parametrize("half", [0, 1, 3, 5, 11, 40])
def test_window_sum_is_exact_beside_a_high_peak(half):
    values = np.random.default_rng(6).uniform(1, 2, (3, 60))
    values[1, 30] = 1e15
    expected = [[row[max(k - half, 0) : k + half + 1].sum() for k in range(60)] for row in values]
    assert np.allclose(window_sum(values, half), expected, rtol=1e-14)
