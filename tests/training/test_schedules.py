"""Learning rates: cycles, and steps down when the validation loss rests."""

from __future__ import annotations

import numpy as np
import pytest

from specz_cnn.training.schedules import Cycles, Plateau


def test_one_cycle():
    cycle = Cycles(1e-3, 100, warmup=0.1)
    rates = [cycle.rate(step) for step in range(100)]
    assert np.argmax(rates) in (9, 10) and max(rates) == pytest.approx(1e-3, rel=1e-2)
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0) and rates[-1] < 1e-5


def test_a_second_cycle_of_another_length():
    plain, changed = Cycles(1e-3, 100), Cycles(1e-3, 100, cycles=[[0, 100], [50, 60]])
    assert changed.rate(49) == plain.rate(49) and changed.rate(59) < 0.01 * plain.rate(59)


def test_a_plateau_falls_when_the_loss_rests():
    plateau = Plateau(1e-3, factor=0.2, patience=1)
    rates = []
    for loss in (1.0, 0.8, 0.8, 0.79, 0.79, 0.7899999, 0.5, 0.6, 0.6, 0.6, 0.6):
        plateau.look(loss)
        rates.append(plateau.rate(0) / 1e-3)
    # One look without a lower loss is borne, the second is not; what is lower by a ten-thousandth is not lower.
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.2, 0.2, 0.2, 0.04, 0.04, 0.008])


def test_a_plateau_continues_from_its_state():
    one, other = Plateau(1.0, 0.5, patience=2), Plateau(1.0, 0.5, patience=2)
    for loss in (3.0, 2.0, 2.5, 2.5):
        one.look(loss)
    other.state = one.state
    one.look(2.5), other.look(2.5)
    assert one.rate(0) == other.rate(0) == 0.5


@pytest.mark.parametrize("factor", [0.0, 1.0, 5.0])
def test_a_factor_that_does_not_lower(factor):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Plateau(1.0, factor)
