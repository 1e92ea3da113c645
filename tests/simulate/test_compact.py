"""The compact bank: a simulation that needs nothing but the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import QTable

from specz_cnn import ModelGrid, read_arrays
from specz_cnn.cli import main
from specz_cnn.simulate import CLASSES, Simulator
from specz_cnn.simulate.bank import Bank
from specz_cnn.simulate.compact import compact_library
from specz_cnn.simulate.sky import model_noise
from specz_cnn.simulate.stars import galaxy_components, normal_star, star_rows, white_dwarf


@pytest.fixture(scope="module")
def simulator():
    return Simulator()


def test_batches_without_any_data(simulator):
    one, other = simulator.draw(64, 5), simulator.draw(64, 5)
    assert torch.equal(one.flux, other.flux) and torch.equal(one.z, other.z)
    assert torch.isfinite(one.flux).all() and (one.ivar >= 0).all() and not one.flux[one.ivar == 0].any()
    assert set(one.label.tolist()) == set(range(len(CLASSES)))


def test_quasars_have_their_lines_where_they_should(simulator):
    """The mean of many quasars of one redshift peaks at C IV, C III] and Mg II of that redshift."""
    keep = simulator.config
    quasars = {"class_weights": (1.0, 0.0, 0.0, 0.0), "z_min": 1.9, "z_max": 1.9001, "dr16_fraction": 0.0}
    simulator.config = replace(keep, **quasars, damaged=0.0, bal=False, snr_min=20.0)
    try:
        batch = simulator.draw(200, 1)
    finally:
        simulator.config = keep
    rest = simulator.grid.wavelength / 2.9
    flux = batch.flux / batch.flux.mean(1, keepdim=True)
    mean = (flux.sum(0) / (batch.ivar > 0).sum(0).clamp(min=1)).numpy()
    for line, window in ((1549.1, 25), (1908.1, 30), (2799.1, 30)):
        near = np.abs(rest - line) < window
        peak = rest[near][mean[near].argmax()]
        assert abs(peak - line) / line < 0.004, line


def test_the_same_bank_from_the_same_seed():
    one, other = compact_library(n_quasars=20), compact_library.__wrapped__(n_quasars=20)
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        a, b = (x.values if isinstance(x, Bank) else x for x in (a, b))
        assert torch.equal(a, b)
    assert (one.line_z[1:] >= one.line_z[:-1]).all()  # as the simulator looks them up
    assert 1.5 < one.line_z.median() < 1.8 and 2.8 < one.line_snr.median() < 3.4


class TestStars:
    WAVELENGTH = 10 ** (1e-4 * np.arange(34900.0, 40300.0))

    def band(self, flux, low, high):
        inside = (self.WAVELENGTH > low) & (self.WAVELENGTH < high)
        return flux[inside].mean()

    def test_hydrogen_is_strongest_in_a_stars(self):
        def depth(temperature):
            flux = normal_star(self.WAVELENGTH, temperature)
            return 1 - self.band(flux, 4860, 4865) / self.band(flux, 4950, 5000)

        assert depth(9500) > 0.3 > depth(5800) > 0 and depth(9500) > depth(25000)

    def test_the_break_of_cool_stars_and_the_jump_of_hot_ones(self):
        def ratio(temperature, blue, red):
            flux = normal_star(self.WAVELENGTH, temperature)
            return self.band(flux, *blue) / self.band(flux, *red)

        assert ratio(4500, (3850, 3950), (4050, 4150)) < 0.75 < ratio(9500, (3850, 3950), (4050, 4150))
        assert ratio(9500, (3560, 3640), (3850, 3950)) < 0.75

    def test_bands_of_m_dwarfs_have_heads(self):
        flux = normal_star(self.WAVELENGTH, 3000)
        assert self.band(flux, 7057, 7075) < 0.75 * self.band(flux, 7030, 7050)

    def test_all_kinds_are_finite_and_positive(self):
        rows = star_rows(self.WAVELENGTH, np.random.default_rng(1), n=6)
        assert rows.shape == (7 * 6 + 12 + 2, self.WAVELENGTH.size)
        assert np.isfinite(rows).all() and (rows >= 0).all()
        for kind in ("DA", "DB", "DC", "DQ", "DZ"):
            assert np.isfinite(white_dwarf(self.WAVELENGTH, 9000, kind, 1500)).all()

    def test_galaxies_grow_red_with_age(self):
        young, *_, old, gas = galaxy_components(self.WAVELENGTH)
        assert self.band(young, 3800, 3900) / self.band(young, 6000, 6100) > 1.5
        assert self.band(old, 3800, 3900) / self.band(old, 6000, 6100) < 0.7
        assert self.WAVELENGTH[gas.argmax()] == pytest.approx(3728.5, abs=2) or self.WAVELENGTH[
            gas.argmax()
        ] == pytest.approx(6564.6, abs=2)


def test_noise_is_that_of_sky_and_spectrograph():
    grid = ModelGrid()
    noise = model_noise(grid, n=60).numpy()
    assert noise.shape == (60, grid.n_pixels) and np.isfinite(noise).all() and (noise >= 0).all()
    np.testing.assert_allclose([row[row > 0].mean() for row in noise], 1, rtol=1e-3)
    typical = np.median(noise, axis=0)
    at = {
        name: typical[np.abs(grid.wavelength - place).argmin()]
        for name, place in {"blue": 3800, "green": 5400, "line": 5578, "red": 7500, "far": 10000}.items()
    }
    assert at["blue"] < at["green"] < at["red"] > at["far"] and at["line"] < 0.4 * at["green"]


def test_simulate_command_without_data(tmp_path):
    assert main(["simulate", "-n", "4", "--seed", "2", "-o", str(tmp_path)]) == 0
    labels = QTable.read(tmp_path / "labels.ecsv")
    for row in labels:
        assert (read_arrays(tmp_path / row["file"]).ivar > 0).any()
