"""A seventh architecture: one class with everything about it, one recipe, and all that is made of networks works."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specz_cnn import load_model
from specz_cnn.models.losses import point_estimate
from specz_cnn.models.network import Network, Objective, architecture, architectures
from specz_cnn.models.registry import WeightsError, save_model
from specz_cnn.redshift.fit import fit_redshift_cnn
from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import prepare
from specz_cnn.simulate.parametric import example_spectrum
from specz_cnn.training.finish import save_weights
from specz_cnn.training.recipe import build_trainer, read_recipe

RECIPE = """
[model]
name = "toy"
architecture = "Toy"
bins = { n = 300, step = 7e-3 }
grid = { start = 36000, factor = 20, n_pixels = 180 }
[simulation]
z_max = 5.0
class_weights = [1.0, 0.0, 0.0, 0.0]
[training]
steps = 6
batch_size = 16
checkpoint_every = 3
patience = 3.0
[validation]
n_simulated = 32
"""


@architecture
class Toy(Network):
    """Chi2 of the ranked flux at each redshift: other input, other output, other loss than all others have."""

    preprocess_version = 40

    def __init__(self, n_pixels, n_bins=300):
        super().__init__()
        self.chi2 = torch.nn.Linear(n_pixels, n_bins)

    @staticmethod
    def preprocess(flux, ivar):
        order = torch.as_tensor(flux).argsort(1).argsort(1)
        return order / order.shape[1] - 0.5

    def forward(self, x):
        return self.chi2(x) ** 2

    @staticmethod
    def read(network, x):
        chi2 = network(x).double()
        return torch.cat([-0.5 * chi2, torch.full_like(chi2[:, :1], -20.0)], 1)

    def objective(self, *, bins=None, target=None, patience=1.0):
        return ToyObjective(bins["step"], patience)


class ToyObjective(Objective):
    def __init__(self, step, patience):
        self.step, self.patience, self.n_steps = step, patience, 0

    def loss(self, network, examples):
        place = (torch.log1p(examples.z) / self.step).long()
        chi2 = network(examples.x)
        return chi2.gather(1, place[:, None]).mean() + (self.patience - chi2.mean()) ** 2

    def after_step(self, network):
        self.n_steps += 1

    def estimate(self, network, x):
        return point_estimate(Toy.read(network, x), step=self.step), None


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)
    return read_recipe(path)


@pytest.fixture
def weights(tmp_path, recipe):
    """Weights file of an untrained toy."""
    from specz_cnn.models.info import ModelInfo

    torch.manual_seed(2)
    path = tmp_path / "untrained.safetensors"
    info = ModelInfo("toy", "toy-0", "Toy", {}, recipe.grid.to_dict(), bins=recipe.model["bins"])
    save_model(path, Toy(180), info.__class__(**{**vars(info), "preprocess_version": 40}))
    return path


def test_it_is_one_of_the_architectures():
    assert architectures()["Toy"] is Toy
    assert {"RNet", "RNetPZ", "RNetE", "QuasarNET"} <= architectures().keys()


def test_it_measures_redshifts_with_its_own_input_and_output(weights):
    network = load_model(weights)
    spectrum = example_spectrum(2.2, snr=8)
    result = fit_redshift_cnn(spectrum, model=weights, cross_check=None, measure=False)
    flux, _ = network.grid.rebin(spectrum.loglam, spectrum.flux, spectrum.ivar)
    with torch.no_grad():
        chi2 = network(Toy.preprocess(flux[None], None))[0].double().numpy()
    expected = np.exp(-0.5 * chi2) / np.exp(-0.5 * chi2).sum()
    np.testing.assert_allclose(result.pdf, expected, rtol=1e-4, atol=1e-9)
    assert result.p_qso > 0.5


@pytest.mark.parametrize("order", [("toy", "rnet-e"), ("rnet-e", "toy")])
def test_model_and_cross_check_on_different_grids(weights, order):
    names = [weights if name == "toy" else name for name in order]
    spectrum = example_spectrum(2.2, snr=8)
    fitter = Fitter(*names, measure=False)
    assert [grid.n_pixels for grid in fitter.grids] == [180 if name == "toy" else 1212 for name in order]
    columns = fitter.fit([prepare(spectrum, fitter.grids)]).columns
    alone = [fit_redshift_cnn(spectrum, model=name, cross_check=None, measure=False).z for name in names]
    np.testing.assert_allclose([columns["z"][0], columns["z_check"][0]], alone, rtol=1e-6)
    with pytest.raises(ValueError, match=r"Fitter\.grids"):
        fitter.fit([prepare(spectrum, fitter.grid)])


def test_eigenspectra_measure_on_their_own_grid(weights):
    fitter = Fitter(weights, None)
    assert [grid.n_pixels for grid in fitter.grids] == [180, 1212]
    columns = fitter.fit([prepare(example_spectrum(2.2, snr=8), fitter.grids)]).columns
    assert np.isfinite(columns["chi2"][0]) and columns["z_lo"][0] < columns["z"][0] < columns["z_hi"][0]


def test_other_preprocessing_is_refused(weights, monkeypatch):
    monkeypatch.setattr(Toy, "preprocess_version", 41)
    with pytest.raises(WeightsError, match="preprocessing 40, this is 41"):
        load_model(weights)


def test_weights_of_an_architecture_that_is_not_there(weights, monkeypatch):
    from specz_cnn.models import network

    monkeypatch.setattr(network, "_REGISTERED", {k: v for k, v in architectures().items() if v is not Toy})
    with pytest.raises(WeightsError, match="architecture 'Toy' is none of"):
        load_model(weights)


@pytest.mark.slow
def test_it_trains_from_a_recipe(recipe, tmp_path, data_dir):
    trainer = build_trainer(recipe, data_dir, tmp_path / "run")
    assert trainer.objective.patience == 3.0
    assert trainer.run() and trainer.objective.n_steps == 6
    network = load_model(save_weights(trainer, recipe, tmp_path))
    assert isinstance(network, Toy) and network.info.preprocess_version == 40
    assert "within_3000" in network.info.metrics["simulated"]
    assert 0 <= fit_redshift_cnn(example_spectrum(2.2), model=tmp_path / "toy.safetensors").z < 8.2


def test_settings_that_it_does_not_know(recipe, tmp_path, data_dir):
    from dataclasses import replace

    other = replace(recipe, training={**recipe.training, "impatience": 1})
    with pytest.raises(TypeError, match="impatience"):
        build_trainer(other, data_dir, tmp_path / "run")
