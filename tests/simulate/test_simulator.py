"""Simulated spectra: reproducible, within their settings, readable back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import QTable

from specz_cnn import ModelGrid, fit_redshift_cnn, read_arrays
from specz_cnn.cli import main
from specz_cnn.simulate import CLASSES, SimulationConfig, Simulator
from specz_cnn.simulate.bank import BANK_STEP, Bank, resample_rows
from specz_cnn.simulate.parametric import example_spectrum, write_example
from specz_cnn.training.shards import read_shards


@pytest.fixture(scope="module")
def simulator(data_dir):
    return Simulator(data_dir)


def of_class(simulator, index, n=24, seed=1, **changes):
    simulator.config = SimulationConfig(class_weights=tuple(float(i == index) for i in range(4)), **changes)
    try:
        return simulator.draw(n, seed)
    finally:
        simulator.config = SimulationConfig()


def fields(batch):
    return batch.flux, batch.ivar, batch.z, batch.label, batch.snr, batch.is_bal


def test_same_seed_same_spectra(simulator):
    one, other, third = simulator.draw(40, 5), simulator.draw(40, 5), simulator.draw(40, 6)
    assert all(torch.equal(a, b) for a, b in zip(fields(one), fields(other), strict=True))
    assert not torch.equal(one.flux, third.flux)
    assert len(set(one.label.tolist())) >= 3


def test_spectra_are_finite_and_bad_pixels_are_zero(simulator):
    batch = simulator.draw(60, 7)
    assert batch.flux.shape == batch.ivar.shape == (60, 1212)
    assert torch.isfinite(batch.flux).all() and torch.isfinite(batch.ivar).all()
    assert (batch.ivar >= 0).all() and not batch.flux[batch.ivar == 0].any()


@pytest.mark.parametrize("index", range(4), ids=CLASSES)
def test_every_class(simulator, index):
    batch = of_class(simulator, index)
    assert (batch.label == index).all()
    if CLASSES[index] == "QSO":
        assert (batch.z >= 0).all() and (batch.z < 7.1).all()
    elif CLASSES[index] == "GALAXY":
        assert (batch.z > 0).all() and (batch.z < 1.1).all()
    else:
        assert (batch.z.abs() < 0.01).all()


def test_signal_to_noise_is_what_was_asked_for(simulator):
    batch = of_class(simulator, 0, 64, snr_min=8.0, snr_max=8.0, sky_residuals=False, cosmic_rays=False)
    good = batch.ivar > 0
    found = (batch.flux * batch.ivar.sqrt() / 2).abs().sum(1) / good.sum(1)
    np.testing.assert_allclose(found.median(), 8, rtol=0.1)


@pytest.mark.parametrize("z", [(0.01, 0.5), (2.8, 3.0), (6.5, 7.1)])
def test_redshift_range(simulator, z):
    batch = of_class(simulator, 0, 16, z_min=z[0], z_max=z[1])
    assert (batch.z >= z[0] - 1e-6).all() and (batch.z <= z[1]).all()
    assert torch.isfinite(batch.flux).all()


def test_every_ingredient_can_be_left_out(simulator):
    switches = [name for name, value in SimulationConfig().to_dict().items() if value is True]
    assert len(switches) > 8
    whole = of_class(simulator, 0, 12, seed=3)
    bare = of_class(simulator, 0, 12, seed=3, **dict.fromkeys(switches, False))
    assert torch.isfinite(bare.flux).all() and not torch.equal(whole.flux, bare.flux)


def test_settings():
    config = SimulationConfig.from_dict({"z_max": 3.0, "class_weights": [1, 0, 0, 0]})
    assert config == replace(SimulationConfig(), z_max=3.0, class_weights=(1, 0, 0, 0))
    assert SimulationConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown simulation settings .'zmax'."):
        SimulationConfig.from_dict({"zmax": 3.0})


def test_missing_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory .*templates"):
        Simulator(tmp_path)


@pytest.mark.slow
def test_simulate_command(data_dir, tmp_path):
    arguments = ["simulate", "--data", str(data_dir), "-n", "5", "--seed", "4"]
    assert main([*arguments, "-o", str(tmp_path / "files")]) == 0
    labels = QTable.read(tmp_path / "files" / "labels.ecsv")
    assert len(labels) == 5 and set(labels["cls"]) <= set(CLASSES)
    for row in labels:
        arrays = read_arrays(tmp_path / "files" / row["file"])
        assert (arrays.plate, arrays.mjd, arrays.fiber) == (row["plate"], row["mjd"], row["fiber"])
        assert (arrays.ivar > 0).any() and np.isfinite(arrays.flux).all()
    assert main([*arguments, "-o", str(tmp_path / "shards"), "--format", "shards", "--quasars-only"]) == 0
    flux, _, labels = read_shards(tmp_path / "shards")
    assert flux.shape == (5, ModelGrid().n_pixels) and labels["is_quasar"].all()


class TestExample:
    """Parametric quasars that need no data."""

    def test_same_seed_same_spectrum(self):
        one, other = example_spectrum(2.0, seed=3), example_spectrum(2.0, seed=3)
        np.testing.assert_array_equal(one.flux, other.flux)
        assert not np.array_equal(example_spectrum(2.0, seed=4).flux, one.flux)

    @pytest.mark.parametrize("snr", [1.0, 30.0])
    def test_signal_to_noise(self, snr):
        arrays = example_spectrum(2.0, snr=snr)
        assert np.median(arrays.flux * np.sqrt(arrays.ivar)) == pytest.approx(snr, rel=0.15)

    @pytest.mark.parametrize("z", [0.0, 0.3, 7.0])
    def test_any_redshift(self, z):
        assert np.isfinite(example_spectrum(z).flux).all()

    def test_written_and_fitted(self, tmp_path):
        path = tmp_path / "example-spec.fits"
        write_example(path, z=2.2, snr=20, seed=2)
        assert abs(fit_redshift_cnn(path, device="cpu").z - 2.2) < 0.02


class TestBank:
    def test_averages_as_pixels_do(self):
        loglam = 35000 + np.arange(2000.0)
        rows = np.stack([np.ones(2000), np.arange(2000.0)])
        bank = resample_rows(loglam, rows, smooth=4.0)
        np.testing.assert_allclose(bank.values[0], 1, rtol=1e-6)
        centres = bank.start + BANK_STEP * np.arange(bank.values.shape[1])
        np.testing.assert_allclose(bank.values[1], centres - 35000, rtol=1e-5, atol=1e-3)

    def test_looked_up_by_number_and_by_value(self):
        bank = Bank(torch.arange(20.0).reshape(2, 10), 100.0)
        position = torch.tensor([[100.0, 101.0, 117.0], [90.0, 109.0, 200.0]])
        rows = torch.tensor([0, 1])
        inside = bank.observe(rows, position, outside="zero")
        torch.testing.assert_close(inside, torch.tensor([[0.0, 0.5, 8.5], [0.0, 14.5, 0.0]]))
        edge = bank.observe(rows, position)
        torch.testing.assert_close(
            edge, torch.tensor([[0.0, 0.5, 8.5], [10.0, 14.5, 19.0]]), rtol=1e-3, atol=1e-2
        )
        torch.testing.assert_close(bank.observe(bank.values, position), edge)
