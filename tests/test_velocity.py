"""Velocities and the window of right redshifts, which everything that judges a redshift shares."""

from __future__ import annotations

import numpy as np
import pytest

from specz_cnn.velocity import OUTLIER_VELOCITY, SPEED_OF_LIGHT, is_right, velocity_difference


def test_velocity_difference_is_linear_in_z():
    assert velocity_difference(2.01, 2.0) == pytest.approx(SPEED_OF_LIGHT * 0.01 / 3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_right_is_within_3000_km_s_of_the_truth(sign):
    truth = np.array([0.1, 2.0, 6.0])
    at = OUTLIER_VELOCITY / SPEED_OF_LIGHT * (1 + truth) * sign
    assert is_right(truth + 0.999 * at, truth).all()
    assert not is_right(truth + 1.001 * at, truth).any()
    # Not a window in ln(1 + z), which would be another by half a per cent, and to either side in another sense.
    logarithmic = np.expm1(np.log1p(truth) + OUTLIER_VELOCITY / SPEED_OF_LIGHT * 1.002)
    assert not is_right(logarithmic, truth).any()


def test_missing_redshifts_are_not_right():
    assert not is_right(np.array([np.nan, 1.0]), np.array([1.0, np.nan])).any()
