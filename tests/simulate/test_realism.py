"""What told simulated spectra from real ones, measured on BOSS spectra of the calibration half."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.simulate import SimulationConfig, igm
from specz_cnn.simulate.bank import BANK_STEP, Bank
from specz_cnn.simulate.compact import compact_library
from specz_cnn.simulate.emission import double_peaked_lines
from specz_cnn.simulate.observe import lattice_positions, observe_spectra
from specz_cnn.simulate.quasars import quasar_spectra
from specz_cnn.simulate.templates import load_templates, smooth_between_lines


def robust_scatter(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def test_errors_hold_between_sky_lines_at_all_wavelengths():
    grid = ModelGrid()
    loglam = lattice_positions(grid)
    noise = torch.ones((1, grid.n_pixels))
    noise[:, 900:1100:10] = 0.2  # sky lines
    config = SimulationConfig(
        flux_calibration=False, masked_runs=False, cosmic_rays=False, telluric_residuals=False
    )
    flux, ivar = observe_spectra(
        torch.ones((400, grid.n_pixels)), torch.full((400,), 5.0), noise, loglam,
        torch.Generator().manual_seed(1), config, grid.factor,
    )  # fmt: skip
    # Neighbouring pixels of one sort share what is smooth.
    chi = (flux[:, 10:] - flux[:, :-10]) / (1 / ivar[:, 10:] + 1 / ivar[:, :-10]).sqrt()
    dark = [robust_scatter(chi[:, part].numpy()) for part in (slice(100, 400), slice(906, 1080, 10))]
    bright = robust_scatter(chi[:, 900:1080:10].numpy())
    np.testing.assert_allclose(dark, 1.0, atol=0.05)
    assert 1.05 < bright < 1.25


@pytest.mark.parametrize("z, variance", [(2.2, 0.04), (2.6, 0.06)])
def test_forest_scatters_as_real_ones_do(z, variance):
    """On pixels of 276 km/s; metals and damped systems add to it."""
    redshift = torch.full((200, 1), z + 0.2)
    rest = (1215.67 * (1 + z) / (1 + redshift)) * 10 ** (4e-4 * torch.arange(-30.0, 30.0))
    transmission, mean = igm.forest_transmission(rest, redshift, torch.Generator().manual_seed(2))
    contrast = transmission / mean - 1
    assert abs(contrast.mean()) < 0.02
    assert contrast.var() == pytest.approx(variance, rel=0.25)
    neighbours = (contrast[:, 1:] * contrast[:, :-1]).mean() / contrast.var()
    assert neighbours == pytest.approx(0.4, abs=0.06)


class TestTemplatesWithoutNoise:
    def test_lines_stay_and_noise_goes(self):
        start = 33000.0
        wavelength = 10 ** (1e-4 * (start + BANK_STEP * np.arange(3000)))
        noise = 0.03 * np.random.default_rng(1).normal(size=3000)
        line = np.exp(-0.5 * ((wavelength / 5008.2 - 1) / 8e-4) ** 2)
        bank = Bank(torch.from_numpy((1 + noise + line)[None].astype(np.float32)), start)
        smooth = smooth_between_lines(bank).values[0].numpy()
        near = np.abs(wavelength - 5008.2) < 15
        np.testing.assert_array_equal(smooth[near], bank.values[0].numpy()[near])
        between = (wavelength > 5400) & (wavelength < 5700)
        assert smooth[between].std() < 0.3 * noise[between].std()
        np.testing.assert_array_equal(smooth[wavelength < 2950], bank.values[0].numpy()[wavelength < 2950])

    def test_a_slope_stays(self):
        bank = Bank(torch.linspace(1, 2, 3000)[None], 34500.0)
        inside = slice(50, -50)
        torch.testing.assert_close(
            smooth_between_lines(bank).values[:, inside], bank.values[:, inside], rtol=1e-4, atol=1e-4
        )

    def test_the_library_is_smooth(self, data_dir):
        """Low-redshift quasars of high S/N show less than half a per cent of scatter from pixel to pixel."""
        bank = load_templates(data_dir).archetypes
        wavelength = 10 ** (1e-4 * (bank.start + BANK_STEP * np.arange(bank.values.shape[1])))
        rows = bank.values.numpy()[:, (wavelength > 5400) & (wavelength < 5700)]
        pixel_to_pixel = (rows[:, 2:-2] - 0.5 * (rows[:, 4:] + rows[:, :-4])) / rows[:, 2:-2]
        assert np.median(np.abs(pixel_to_pixel)) < 0.005


def test_extra_lines_leave_lyman_alpha_in_place():
    """A quarter more or less of each line, not of its square."""
    grid = ModelGrid()
    z = torch.full((300,), 2.5)
    config = SimulationConfig(
        recipe_weights=(0.0, 0.0, 1.0), bal=False, associated_absorption=False, igm=False
    )
    rest = grid.wavelength / 3.5
    peak, side = (rest > 1212) & (rest < 1220), (rest > 1340) & (rest < 1370)
    contrast = []
    for extra in (False, True):
        flux = quasar_spectra(
            z, compact_library(), lattice_positions(grid), torch.Generator().manual_seed(1),
            replace(config, extra_lines=extra),
        )[0]  # fmt: skip
        contrast.append((flux[:, peak].mean(1) / flux[:, side].mean(1)).log().numpy())
    assert contrast[1].std() < 1.2 * contrast[0].std()
    assert abs(np.median(contrast[1]) - np.median(contrast[0])) < 0.1


def test_lines_of_disks_have_two_peaks_the_blue_one_brighter():
    rest = torch.linspace(4000.0, 7500.0, 3501)[None].expand(300, -1)
    lines = double_peaked_lines(rest, torch.Generator().manual_seed(1))
    alpha, beta = lines[:, 2000:], lines[:, 700:1100]  # 6000 to 7500, 4700 to 5100 Angstrom
    width = alpha.sum(1)
    assert 90 < width.min() < 130 and 400 < width.max() < 510
    torch.testing.assert_close(beta.sum(1) / width, torch.full((300,), 0.28), atol=0.08, rtol=0)
    middle = torch.linspace(6000.0, 7500.0, 1501) < 6564.6
    blue, red = alpha[:, middle].amax(1), alpha[:, ~middle].amax(1)
    assert (blue > 0.9 * red).all() and (blue > 1.1 * red).float().mean() > 0.5
    # With little broadening there is a valley between the two.
    valley = alpha[:, 550:580].amin(1)
    assert (valley < 0.8 * red).float().mean() > 0.3
