"""The calibration recovers what was wrong with made-up networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from specz_cnn.redshift.calibration import calibrate, fit_errors, fit_monotone
from specz_cnn.redshift.posterior import apply_map, certainty, confidence_of, error_factor, posterior
from specz_cnn.velocity import RIGHT

STEP = 4e-4 * np.log(10)
BINS = {"n": 2272, "step": STEP}
C = 299792.458


@pytest.fixture(scope="module")
def sample():
    """Logits of an imaginary network that is too sure of its peaks and too unsure of their centres.

    Peaks have errors of half a bin but are drawn 0.8 bins wide; the best of two peaks is the right one as often as
    its log odds say, but the logits exaggerate these twofold.
    """
    rng = np.random.default_rng(4)
    n = 1500
    truth = rng.uniform(0.2, 2.0, n)
    is_quasar = rng.random(n) < 0.8
    odds = rng.exponential(5.0, n)
    right = rng.random(n) < expit(odds)
    wrong_place = np.where(truth > 1.1, truth - 0.6, truth + 0.6)
    best = np.where(right, truth, wrong_place) + 0.5 * STEP * rng.normal(size=n)
    second = np.where(right, wrong_place, truth) + 0.5 * STEP * rng.normal(size=n)
    bins = STEP * (np.arange(BINS["n"]) + 0.5)
    peaks = [-0.5 * ((bins - u[:, None]) / (0.8 * STEP)) ** 2 for u in (best, second)]
    logits = np.logaddexp(np.maximum(peaks[0], -60), np.maximum(peaks[1] - 2 * odds[:, None], -60))
    # "Not a quasar": informative, with log odds twice too large.
    x = rng.normal(np.where(is_quasar, 1.5, -1.5), 1.0)
    total = np.logaddexp.reduce(logits, axis=1)
    return np.column_stack([logits, total - 6 * x]), np.expm1(truth), is_quasar, right


@pytest.fixture(scope="module")
def calibration(sample):
    output, z, is_quasar, _ = sample
    return calibrate(output, z, is_quasar, bins=BINS)


def test_it_is_plain_data(calibration):
    assert json.loads(json.dumps(calibration)) == calibration


def test_peaks_get_narrower(sample, calibration):
    output, z, is_quasar, right = sample
    found = posterior(output, bins=BINS, calibration=calibration)
    use = is_quasar & right
    pull = ((found.z - z) / found.z_err)[use]
    assert 0.9 < 1.4826 * np.median(np.abs(pull)) < 1.15
    assert 0.64 < np.mean(np.abs(pull) < 1) < 0.73
    raw = posterior(output, bins=BINS)
    assert np.median(found.width) < 0.85 * np.median(raw.width)


def test_confidence_is_the_frequency(sample, calibration):
    output, z, is_quasar, _ = sample
    found = posterior(output[is_quasar], bins=BINS, calibration=calibration)
    right = np.abs(np.log1p(found.z) - np.log1p(z[is_quasar])) < RIGHT
    confidence = confidence_of(found.score, calibration)
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.01)
    unsure = confidence < 0.9
    assert confidence[unsure].mean() == pytest.approx(right[unsure].mean(), abs=0.06)
    assert calibration["temperature"] > 1.3


def test_p_qso_is_the_frequency(sample, calibration):
    output, _, is_quasar, _ = sample
    p_qso = posterior(output, bins=BINS, calibration=calibration).p_qso
    assert p_qso.mean() == pytest.approx(is_quasar.mean(), abs=0.01)
    unsure = (p_qso > 0.2) & (p_qso < 0.8)
    assert p_qso[unsure].mean() == pytest.approx(is_quasar[unsure].mean(), abs=0.12)


def test_thresholds_keep_wrong_redshifts_and_other_objects_out(sample, calibration):
    output, z, is_quasar, _ = sample
    found = posterior(output, bins=BINS, calibration=calibration)
    wrong = np.abs(np.log1p(found.z) - np.log1p(z)) > RIGHT
    limits = calibration["thresholds"]
    unflagged = (
        (certainty(confidence_of(found.score, calibration), found.p_qso) >= limits["confidence"])
        & (found.delta >= limits["delta"])
        & (found.p_qso >= limits["p_qso"])
    )
    assert unflagged[is_quasar].mean() > 0.1
    assert (wrong | ~is_quasar)[unflagged].mean() <= 1e-3
    assert unflagged[~is_quasar].mean() <= 1e-3
    assert calibration["report"]["wrong_unflagged"] <= 1e-3


def test_certainty():
    np.testing.assert_allclose(certainty(np.array([0.5, 0.9]), np.array([0.5, np.nan])), [0.25, 0.9])


def test_cross_check_enters_the_confidence(sample):
    output, z, is_quasar, _ = sample
    rng = np.random.default_rng(5)
    # A second opinion that is right nine times in ten, independently of the first.
    z_check = np.where(rng.random(z.size) < 0.9, z, 7.0)
    calibration = calibrate(output, z, is_quasar, bins=BINS, z_check=z_check, check="second")
    found = posterior(output, bins=BINS, calibration=calibration)
    agree = (np.abs(np.log1p(found.z) - np.log1p(z_check)) < RIGHT).astype(float)
    confidence = confidence_of(found.score, calibration, agree=agree, check="second")
    assert confidence[agree == 1].mean() > 0.97
    assert confidence[agree == 0].mean() < 0.7


def test_precision_weights_decide_about_errors():
    """Two sets of the same confidence and different scatter: the errors are those of the one that has the weight."""
    rng = np.random.default_rng(6)
    truth = rng.uniform(0.3, 1.9, 400)
    scatter = np.where(np.arange(400) < 200, 0.3, 1.5)
    bins = STEP * (np.arange(BINS["n"]) + 0.5)
    centre = truth + scatter * STEP * rng.normal(size=400)
    logits = np.maximum(-0.5 * ((bins - centre[:, None]) / (0.8 * STEP)) ** 2, -40)
    output = np.column_stack([logits, np.full(400, -20.0)])
    z, everything = np.expm1(truth), np.ones(400, dtype=bool)
    errors = []
    for chosen in (scatter < 1, scatter > 1):
        calibration = calibrate(output, z, everything, bins=BINS, precision_weights=chosen.astype(float))
        found = posterior(output, bins=BINS, calibration=calibration)
        errors.append(np.median(found.z_err / (1 + found.z)) / STEP)
    assert errors[0] == pytest.approx(0.3, rel=0.2)
    assert errors[1] == pytest.approx(1.5, rel=0.2)


def test_a_network_that_returns_one_number():
    rng = np.random.default_rng(7)
    n = 1000
    truth = rng.uniform(0.2, 2.0, n)
    sigma = rng.uniform(0.001, 0.01, n)
    output = np.column_stack(
        [truth + 2 * sigma * rng.normal(size=n), sigma]
    )  # errors twice as large as it thinks
    z = np.expm1(truth)
    calibration = calibrate(output, z, np.ones(n, dtype=bool), z_range=(0.0, 7.1))
    found = posterior(output, calibration=calibration)
    right = np.abs(np.log1p(found.z) - truth) < RIGHT
    pull = (found.z - z) / found.z_err
    assert 0.6 < np.mean(np.abs(pull[right]) < 1) < 0.75
    confidence = confidence_of(found.score, calibration, number=True)
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.02)
    narrow = sigma < 0.003
    assert confidence[narrow].mean() > confidence[~narrow].mean()


@pytest.mark.parametrize("slope, offset", [(0.7, 0.5), (2.0, -1.0)])
def test_fit_monotone_recovers_a_logistic(slope, offset):
    rng = np.random.default_rng(8)
    x = rng.normal(0, 2, 4000)
    outcome = rng.random(x.size) < expit(slope * x + offset)
    nodes = fit_monotone(x, outcome)
    assert np.all(np.diff(nodes["x"]) > 0) and np.all(np.diff(nodes["y"]) > 0)
    place = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(expit(apply_map(place, nodes)), expit(slope * place + offset), atol=0.08)


def test_fit_monotone_weights_are_proportions():
    x = np.repeat([0.0, 1.0], 500)
    outcome = np.tile([True, False], 500)
    nodes = fit_monotone(x, outcome, np.where(outcome, 3.0, 1.0))
    assert expit(apply_map(np.array([0.5]), nodes))[0] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("value", [True, False])
def test_fit_monotone_when_everything_came_out_alike(value):
    nodes = fit_monotone(np.linspace(0, 5, 200), np.full(200, value))
    probability = expit(apply_map(np.array([2.5]), nodes))[0]
    assert (probability > 0.97) if value else (probability < 0.03)
    assert 0 < probability < 1


def test_refusals(sample):
    output, z, is_quasar, _ = sample
    with pytest.raises(ValueError, match="same length"):
        calibrate(output, z[:-1], is_quasar, bins=BINS)
    with pytest.raises(ValueError, match="at least 50 quasars"):
        calibrate(output, z, np.zeros_like(is_quasar), bins=BINS)
    with pytest.raises(ValueError, match="name of the model"):
        calibrate(output, z, is_quasar, bins=BINS, z_check=z)


def test_errors_by_redshift_follow_what_is_seen_there():
    """Where errors are twice too small they grow by nearly two; a handful of spectra moves them less."""
    rng = np.random.default_rng(5)
    n = 3000
    u = np.log1p(np.concatenate([rng.uniform(0.05, 2.9, n - 10), np.full(10, 5.0)]))
    width = rng.uniform(100, 300, n)
    scatter = np.where(u > np.log1p(2.5), 2.0, 1.0)
    error = np.abs(rng.normal(0, 1, n)) * width * scatter
    nodes = fit_errors(width, error, np.ones(n, bool), np.ones(n), u)
    total = error_factor(np.full(3, 200.0), nodes, np.log1p([1.2, 3.0, 4.95]))
    assert 0.8 < total[0] < 1.15 and 1.7 < total[1] < 2.3 and total[0] < total[2] < 2.0
