from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import binom_conf_interval, mad_std
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specz_cnn.evaluate import classification_metrics, redshift_metrics
from specz_cnn.evaluate.metrics import binomial_interval, completeness_purity, group_weights
from specz_cnn.velocity import SPEED_OF_LIGHT, nmad, velocity_difference, weighted_quantile

finite = st.floats(-1e5, 1e5)


def test_velocity_difference():
    assert_allclose(velocity_difference([2.01, np.nan], [2.0, 1.0]), [SPEED_OF_LIGHT * 0.01 / 3, np.nan])


def test_group_weights_count_objects():
    weights = group_weights([5, 7, 5, 5, 9])
    assert_allclose(weights, [1 / 3, 1, 1 / 3, 1 / 3, 1])
    assert_array_equal(weights, group_weights(["5", "7", "5", "5", "9"]))


@given(st.lists(finite, min_size=2, max_size=30))
def test_unweighted_median_and_nmad_are_the_usual_ones(values):
    assert_allclose(weighted_quantile(values, 0.5), np.median(values), rtol=1e-9, atol=1e-9)
    assert_allclose(nmad(values), mad_std(values), rtol=1e-6, atol=1e-6)


@given(st.lists(st.tuples(finite, st.integers(1, 5)), min_size=1, max_size=12))
def test_integer_weights_are_repetitions(pairs):
    values, weights = map(np.array, zip(*pairs, strict=True))
    repeated = np.repeat(values, weights)
    for q in (0.0, 0.16, 0.5, 0.75, 1.0):
        assert weighted_quantile(values, q, weights) == weighted_quantile(repeated, q)
        assert np.isclose(weighted_quantile(values, q, weights / 7), weighted_quantile(repeated, q))


def test_quantiles_of_nothing_are_nan():
    assert np.isnan(weighted_quantile([], 0.5))
    assert_array_equal(weighted_quantile([], [0.1, 0.9]), [np.nan, np.nan])
    assert np.isnan(nmad([3.0]))
    assert np.isnan(weighted_quantile([1.0], 0.5, [0.0]))


@pytest.mark.parametrize("level", [0.6827, 0.95])
def test_wilson_interval(level):
    k, n = np.array([0, 1, 7, 50, 99, 100]), 100
    low, high = binomial_interval(k, n, level)
    assert_allclose([low, high], binom_conf_interval(k, n, level, interval="wilson"), atol=1e-12)
    assert low[0] == 0 and high[-1] == 1


def test_wilson_interval_without_trials():
    assert_array_equal(binomial_interval(0, 0), [np.nan, np.nan])


def test_redshift_metrics_by_hand():
    z_true = np.array([1.0, 1.0, 1.0, 1.0, 1.0, np.nan])
    dv = np.array([100.0, -200.0, 700.0, 4000.0, np.nan, 0.0])
    metrics = redshift_metrics(z_true + dv * 2 / SPEED_OF_LIGHT, z_true)
    assert metrics["n_spectra"] == 5
    assert metrics["n_objects"] == 5
    assert_allclose(metrics["answered"], 0.8)
    for limit, right in ((600, 2), (3000, 3), (6000, 4), (12000, 4)):
        assert_allclose(metrics[f"within_{limit}"], right / 5)
        bounds = binomial_interval(right, 5)
        assert_allclose([metrics[f"within_{limit}_lo"], metrics[f"within_{limit}_hi"]], bounds)
    assert metrics["n_outliers"] == 2
    assert_allclose(metrics["outliers"], 0.4)
    assert_allclose(metrics["bias"], 100, rtol=1e-9)
    assert_allclose(metrics["nmad"], 1.482602 * 300, rtol=1e-5)
    assert_allclose(metrics["nmad_all"], mad_std([100, -200, 700, 4000]), rtol=1e-5)


def test_missing_redshifts_of_a_catalogue_do_not_count():
    metrics = redshift_metrics([1.0, np.nan], [1.0, 1.0], missing="ignore")
    assert metrics["n_spectra"] == 1
    assert metrics["answered"] == 0.5
    assert metrics["within_600"] == 1.0
    with pytest.raises(ValueError, match="missing must be"):
        redshift_metrics([1.0], [1.0], missing="maybe")


def test_metrics_of_nothing_are_nan():
    metrics = redshift_metrics([], [])
    assert metrics["n_spectra"] == 0
    assert np.isnan([metrics["within_600"], metrics["nmad"], metrics["answered"]]).all()


def test_an_object_observed_often_counts_once():
    z_true = np.full(80, 2.0)
    z = z_true.copy()
    z[:78] += 1.0
    weights = group_weights([0] * 78 + [1, 2])
    assert_allclose(redshift_metrics(z, z_true, weights=weights)["within_3000"], 2 / 3)
    assert_allclose(redshift_metrics(z, z_true)["within_3000"], 2 / 80)


def test_upper_bound_on_outliers_is_near_the_rule_of_three():
    metrics = redshift_metrics(np.ones(3000), np.ones(3000))
    assert 0.0005 < metrics["outliers_max95"] < 0.0015


def test_intervals_of_bias_and_scatter_hold_the_truth():
    """Distribution-free: also for a distribution with heavy tails."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        dv = rng.standard_t(3, 101) * 100
        metrics = redshift_metrics(1 + dv * 2 / SPEED_OF_LIGHT, np.ones(101))
        # The third quartile of Student's t with 3 degrees of freedom is 0.7649.
        scatter = 1.482602 * 76.49
        held.append(
            [metrics["bias_lo"] < 0 < metrics["bias_hi"], metrics["nmad_lo"] < scatter < metrics["nmad_hi"]]
        )
    assert_allclose(np.mean(held, axis=0), 0.68, atol=0.08)


def test_classification_by_hand():
    p_qso = [0.9, 0.8, 0.2, 0.7, 0.1, np.nan]
    is_qso = [True, True, True, False, False, True]
    metrics = classification_metrics(p_qso, is_qso)
    assert_allclose([metrics["completeness"], metrics["purity"]], [2 / 4, 2 / 3])
    assert_allclose(metrics["contamination"], 1 / 2)
    assert metrics["n_qso"] == 4 and metrics["n_other"] == 2
    squares = 0.01 + 0.04 + 0.64 + 0.49 + 0.01 + 1
    assert_allclose(metrics["brier"], squares / 6)


def test_nothing_called_a_quasar_has_no_purity():
    assert np.isnan(classification_metrics([0.1], [True])["purity"])


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]), st.booleans()), min_size=1, max_size=20
    ).filter(lambda pairs: any(is_qso for _, is_qso in pairs))
)
def test_curve_agrees_with_single_thresholds(pairs):
    p_qso, is_qso = map(list, zip(*pairs, strict=True))
    for threshold, complete, pure in zip(*completeness_purity(p_qso, is_qso), strict=True):
        metrics = classification_metrics(p_qso, is_qso, threshold=threshold)
        assert_allclose([complete, pure], [metrics["completeness"], metrics["purity"]])
