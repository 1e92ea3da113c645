from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from specz_cnn.evaluate.probability import (
    coverage,
    credible_level_from_interval,
    credible_level_from_pdf,
    pit_from_interval,
    pit_from_pdf,
    pull_metrics,
    reliability,
    uniformity,
)

STEP = 4e-4 * np.log(10)
Z_GRID = np.expm1((np.arange(2000) + 0.5) * STEP)


@pytest.fixture(scope="module")
def sample():
    """Gaussian errors stated right: z, z_err, truth."""
    rng = np.random.default_rng(8)
    z_true = rng.uniform(0.5, 3.0, 4000)
    z_err = rng.uniform(0.004, 0.01, 4000)
    return z_true + z_err * rng.normal(size=4000), z_err, z_true


def gaussian_pdf(z, z_err):
    """p(z) on the grid, Gaussian in ln(1 + z)."""
    x, width = np.log1p(z)[:, None], (z_err / (1 + z))[:, None]
    pdf = np.exp(-0.5 * ((np.log1p(Z_GRID) - x) / width) ** 2).astype(np.float32)
    return pdf / pdf.sum(axis=1, keepdims=True)


def test_right_errors_look_right(sample):
    z, z_err, z_true = sample
    pulls = pull_metrics(z, z_err, z_true)
    assert_allclose(pulls["pull_nmad"], 1, atol=0.05)
    assert_allclose(pulls["pull_median"], 0, atol=0.05)
    assert pulls["pull_beyond_5"] == 0
    levels = (0.5, 0.68, 0.9, 0.95)
    fraction, low, high = coverage(
        credible_level_from_interval(z, z - z_err, z + z_err, z_true), levels=levels
    )
    assert_allclose(fraction, levels, atol=0.025)
    assert (low < fraction).all() and (fraction < high).all()
    distance, limit = uniformity(pit_from_interval(z, z - z_err, z + z_err, z_true))
    assert distance < limit


def test_wrong_errors_look_wrong(sample):
    z, z_err, z_true = sample
    small = 0.5 * z_err
    assert_allclose(pull_metrics(z, small, z_true)["pull_nmad"], 2, atol=0.1)
    fraction, _, _ = coverage(credible_level_from_interval(z, z - small, z + small, z_true), levels=[0.68])
    assert fraction[0] < 0.45
    distance, limit = uniformity(pit_from_interval(z, z - small, z + small, z_true))
    assert distance > 2 * limit


def test_pdf_agrees_with_interval(sample):
    z, z_err, z_true = (value[:300] for value in sample)
    pdf = gaussian_pdf(z, z_err)
    # z_err is an error of z; in ln(1 + z) the distribution is slightly skewed.
    interval = pit_from_interval(z, z - z_err, z + z_err, z_true)
    assert_allclose(pit_from_pdf(pdf, Z_GRID, z_true), interval, atol=0.01)
    level = credible_level_from_interval(z, z - z_err, z + z_err, z_true)
    # Next to the peak, one bin is more than a tenth of the probability.
    assert np.median(np.abs(credible_level_from_pdf(pdf, Z_GRID, z_true) - level)) < 0.02
    distance, limit = uniformity(credible_level_from_pdf(pdf, Z_GRID, z_true))
    assert distance < limit


def test_pit_of_one_bin():
    pdf = np.zeros((3, 4))
    pdf[:, 1] = 1
    z_grid = np.expm1(np.array([0.05, 0.15, 0.25, 0.35]))
    low, middle, high = pit_from_pdf(pdf, z_grid, np.expm1([0.12, 0.15, 0.18]))
    assert 0 < low < 0.2
    assert_allclose([middle, low + high], [0.5, 1.0], atol=1e-6)
    level = credible_level_from_pdf(pdf, z_grid, np.expm1([0.15, 0.12, 0.32]))
    assert level[0] < 0.1 and 0.5 < level[1] < 1
    assert_allclose(level[2], 1.0)


def test_levels_agree_with_the_intervals_of_a_result(sample):
    posterior = pytest.importorskip("specz_cnn.results.distribution")
    z, z_err, _ = (value[:5] for value in sample)
    pdf = gaussian_pdf(z, z_err)
    for i in range(5):
        low, high = posterior.credible_intervals(pdf[i], STEP, 0.9)[0]
        assert_allclose(credible_level_from_pdf(pdf[[i, i]], Z_GRID, [low, high]), 0.9, atol=0.02)


def test_truth_beyond_the_grid_and_missing():
    pdf = np.full((4, 4), 0.25)
    pdf[3] = np.nan
    z_grid = np.expm1(np.array([0.05, 0.15, 0.25, 0.35]))
    pit = pit_from_pdf(pdf, z_grid, [9.0, 0.0, np.nan, 0.1])
    assert_array_equal(pit, [1.0, 0.0, np.nan, np.nan])
    assert_array_equal(np.isnan(credible_level_from_pdf(pdf, z_grid, [0.1, 0.2, np.nan, 0.1])), [0, 0, 1, 1])


def test_many_rows_are_taken_in_blocks():
    pdf = np.tile(np.float32([0.2, 0.3, 0.5]), (5000, 1))
    z_grid = np.expm1(np.array([0.05, 0.15, 0.25]))
    pit = pit_from_pdf(pdf, z_grid, np.full(5000, np.expm1(0.15)))
    assert pit.shape == (5000,)
    assert np.ptp(pit) == 0 and 0.3 < pit[0] < 0.4
    assert pit_from_pdf(pdf[:0], z_grid, []).shape == (0,)


def test_pdf_must_fit_its_grid():
    with pytest.raises(ValueError, match="belongs to 3 redshifts and 2 spectra, not to 4 and 2"):
        pit_from_pdf(np.ones((2, 3)), Z_GRID[:4], [1.0, 1.0])
    with pytest.raises(ValueError, match="uniform"):
        pit_from_pdf(np.ones((1, 3)), [0.0, 1.0, 5.0], [1.0])


def test_interval_of_no_width():
    assert_array_equal(
        credible_level_from_interval([1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.1]), [0.0, 1.0]
    )
    assert_array_equal(pit_from_interval([1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.9, 1.1]), [0.0, 1.0])
    assert np.isnan(credible_level_from_interval([1.0], [np.nan], [np.nan], [1.1])).all()


def test_asymmetric_interval():
    level = credible_level_from_interval([1.0, 1.0], [0.9, 0.9], [1.2, 1.2], [0.9, 1.2])
    assert_allclose(level, 0.6827, atol=1e-4)


def test_reliability_of_an_honest_confidence():
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0, 1, 20000)
    stated = reliability(confidence, rng.uniform(0, 1, 20000) < confidence)
    assert_allclose(stated["right"][:10], stated["confidence"][:10], atol=0.04)
    assert stated["expected_error"] < 0.02
    assert_allclose(stated["brier"], 1 / 6, atol=0.01)
    assert_allclose(stated["n"].sum(), 20000)


def test_reliability_by_hand():
    stated = reliability([0.9, 0.9, 1.0, np.nan], [True, False, True, True], edges=[0.0, 0.95, 1.0])
    assert_allclose(stated["confidence"], [0.9, 1.0])
    assert_allclose(stated["right"], [0.5, 1.0])
    assert_allclose(stated["expected_error"], 0.4 * 2 / 3)
    assert_allclose(stated["brier"], (0.01 + 0.81) / 3)


def test_nothing_known():
    assert np.isnan(uniformity([np.nan])).all()
    assert np.isnan(coverage([np.nan])[0]).all()
    assert np.isnan(reliability([np.nan], [True])["expected_error"])
    assert np.isnan(pull_metrics([1.0], [np.nan], [1.0])["pull_nmad"])
