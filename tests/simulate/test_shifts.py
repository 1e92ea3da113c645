"""Shifts of lines, and what lies between a quasar and us."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specz_cnn.simulate import SimulationConfig, igm
from specz_cnn.simulate.absorbers import associated_absorption, broad_absorption, draw_broad_absorption
from specz_cnn.simulate.shifts import CIV, LineShifts, civ_equivalent_width, draw_shifts

KMS = 1e-4 * np.log(10) * 299792.458


def drawn(z, width=30.0, n=4000, seed=1, **switches):
    size = (n, 1)
    generator = torch.Generator().manual_seed(seed)
    return draw_shifts(torch.full(size, z), torch.full(size, width), generator, SimulationConfig(**switches))


def lattice(wavelength):
    return 1e4 * np.log10(wavelength)


def test_lines_move_by_their_share_and_magnesium_stays():
    shifts = drawn(4.0)
    rest = torch.tensor(
        [[lattice(1240.8), lattice(CIV), lattice(2799.1), lattice(5008.2)]], dtype=torch.float32
    )
    moved = (rest - shifts.source(rest.expand(4000, -1))) * KMS
    torch.testing.assert_close(moved[:, 1:2], shifts.civ, atol=40.0, rtol=0.05)
    assert moved[:, 2:].abs().max() < 1
    share = (moved[:, 0] * moved[:, 1]).sum() / (moved[:, 1] ** 2).sum()
    assert 0.55 < share < 0.75


def test_weak_lines_and_high_redshifts_are_shifted_more():
    def median(*args, **kwargs):
        return float(drawn(*args, **kwargs).civ.median())

    assert median(6.0) < median(4.0) < median(2.0) < -50
    assert median(2.0, width=12.0) < median(2.0) < median(2.0, width=80.0)


def test_helium_fades_with_the_shift():
    shifts = LineShifts(torch.tensor([[0.0], [-3000.0]]), torch.zeros(2, 19), torch.ones(2, 1))
    at = torch.tensor([[lattice(1640.0), lattice(CIV), lattice(2799.0)]], dtype=torch.float32).expand(2, -1)
    factor = shifts.factor(at)
    torch.testing.assert_close(factor[0], torch.ones(3), atol=1e-3, rtol=0)
    assert factor[1, 0] < 0.5 and factor[1, 2] > 0.99


def test_equivalent_width_counts_from_the_level_beside_the_line():
    def flux(at, continuum=0.8, sigma=1500.0):
        velocity = (at - lattice(CIV)) * KMS
        return continuum * (1 + torch.exp(-0.5 * (velocity / sigma) ** 2))

    expected = 1500.0 * np.sqrt(2 * np.pi) / 299792.458 * CIV
    width = civ_equivalent_width(flux, 3)
    torch.testing.assert_close(width, torch.full((3, 1), expected), rtol=0.05, atol=0)
    # Neither the scale of the flux nor a level below one is a line.
    torch.testing.assert_close(civ_equivalent_width(lambda at: 0.1 * flux(at), 3), width)
    assert civ_equivalent_width(lambda at: torch.full_like(at, 0.8), 2).abs().max() < 1e-3


def test_switches():
    off = drawn(4.0, line_shifts=False, weak_lines=False)
    assert not off.civ.any() and not off.nodes.any() and (off.strength == 1).all()
    assert 0.01 < (drawn(4.5).strength < 1).float().mean() < 0.1
    with pytest.raises(ValueError, match="frame must be"):
        SimulationConfig(frame="galactic")


def test_proximity_zone_transmits():
    rest = torch.full((300, 8), 1208.0)
    z = torch.full((300, 1), 6.0)

    def mean(radius):
        return igm.forest_transmission(rest, z, torch.Generator().manual_seed(1), radius)[0].mean()

    assert mean(torch.full_like(z, 10.0)) > 3 * mean(torch.full_like(z, 0.5))
    assert mean(torch.full_like(z, 10.0)) < 1


def test_damping_wing_reaches_to_the_red_and_ends():
    rest = torch.tensor([[1217.0, 1225.0, 1400.0]]).expand(500, -1)
    z = torch.full((500, 1), 7.0)
    radius = torch.full_like(z, 2.0)
    wing = igm.damping_wing(rest, z, radius, torch.Generator().manual_seed(1)).mean(0)
    assert wing[0] < wing[1] < wing[2] and wing[2] > 0.99 and wing[0] < 0.9
    assert (igm.damping_wing(rest, z * 0 + 5, radius, torch.Generator().manual_seed(1)) == 1).all()


def test_broad_absorption_in_proportion():
    z = torch.full((20000,), 2.5)
    kind = draw_broad_absorption(z, torch.Generator().manual_seed(1))
    assert abs((kind > 0).float().mean() - 0.165) < 0.01 and abs((kind == 2).float().mean() - 0.065) < 0.01
    assert not draw_broad_absorption(z * 0 + 0.3, torch.Generator()).any()
    rest = torch.linspace(1400, 1600, 300).expand(200, -1)
    through = broad_absorption(rest, kind[kind > 0][:200], z[:200], torch.Generator().manual_seed(2))
    assert through.min() >= 0 and through.max() <= 1 and (through[:, rest[0] > 1580] > 0.95).all()


def test_associated_absorption_is_narrow_and_near():
    rest = torch.linspace(1500, 1600, 400).expand(400, -1)
    through = associated_absorption(rest, torch.Generator().manual_seed(3))
    velocity = 299792.458 * (rest[0] / CIV - 1)
    assert (through.min(1).values < 0.9).all()
    assert (through[:, (velocity < -7000) | (velocity > 3500)] > 0.97).all()


def test_damped_systems_near_the_quasar_take_its_lyman_alpha():
    rest = torch.linspace(1100, 1300, 400).expand(500, -1)
    through = igm.damped_systems(rest, (-0.002, 0.01), torch.Generator().manual_seed(4))
    line = (rest[0] > 1203) & (rest[0] < 1218.5)
    assert through.min() >= 0 and through.max() <= 1 and (through[:, line].amin(1) < 0.01).all()
    assert (through[:, rest[0] > 1280] > 0.8).all()
    lowest = 1215.67 / rest[0][through.argmin(1)] - 1
    assert -0.004 < lowest.min() and lowest.max() < 0.012
