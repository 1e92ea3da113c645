"""A network of less arithmetic begins with what its teacher knows."""

from __future__ import annotations

import logging

import pytest
import torch

from specz_cnn import ModelGrid
from specz_cnn.models import ModelInfo, RNetE, save_model
from specz_cnn.training.recipe import start_from
from specz_cnn.training.slimming import _Pupil, slim
from specz_cnn.training.sources import Examples

SIZES = {"n_pixels": 96, "n_bins": 64, "n_templates": 3, "n_segments": 6}


class Waves:
    """Smooth spectra; a function of the step, as all sources are."""

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(32, 2, 96 + 24, generator=generator)
        x = torch.nn.functional.avg_pool1d(x, 25, 1) * 5
        return Examples(x, torch.ones(32), torch.ones(32, dtype=torch.bool))


def lived_in(network):
    """With weights and normalisations of some use."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "lag_bias", "bias")):
                value.normal_(std=0.3)
            elif name.endswith("running_var") or "norm.weight" in name:
                value.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return lived_in(RNetE(channels=(8, 5), kernels=(9, 5), **SIZES))


class _Teachers(torch.nn.Module):
    """The teacher's own features in the form that a network with a stride gives."""

    def __init__(self, pupil):
        super().__init__()
        self.pupil = [pupil]

    def forward(self, x):
        return self.pupil[0].wanted(x)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_with_the_teachers_features_the_answer_is_the_teachers(teacher, stride):
    network = RNetE(channels=(4, 5 * stride), kernels=(9, 5), stride=stride, **SIZES)
    pupil = _Pupil(network, teacher)
    network.features = _Teachers(pupil)
    with torch.no_grad():
        # Any mixture of them, and a constant.
        mixture = torch.linalg.qr(torch.randn(5 * stride, 5 * stride))[0]
        network.features = torch.nn.Sequential(network.features, torch.nn.Conv1d(5 * stride, 5 * stride, 1))
        network.features[1].weight.copy_(mixture[..., None])
        network.features[1].bias.fill_(0.7)
        pupil.linear.weight.copy_(mixture.T[..., None])
        pupil.linear.bias.copy_(-(mixture.T @ torch.full((5 * stride,), 0.7)))
    x = Waves().batch(0).x
    assert pupil(x) < 1e-10
    pupil.finish(x)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(x), teacher(x), rtol=1e-3, atol=1e-3)


def test_features_are_learned(teacher, caplog):
    torch.manual_seed(2)
    network = RNetE(channels=(12, 8), kernels=(9, 5), stride=2, **SIZES)
    x = Waves().batch(12_345).x
    with torch.no_grad():
        first = (network.eval()(x) - teacher(x))[:, :-1].std()
        network.train()
    with caplog.at_level(logging.INFO, "specz_cnn.training.slimming"):
        slim(network, teacher, Waves(), 400)
    assert network.training
    with torch.no_grad():
        last = (network.eval()(x) - teacher(x))[:, :-1].std()
    assert last < 0.3 * first
    assert [record.message.split()[0] for record in caplog.records] == ["8", "they"]


def test_a_recipe_may_start_so(teacher, tmp_path):
    """Without a step of learning, what is behind the features is the teacher's all the same."""
    arguments = {**SIZES, "channels": [8, 5], "kernels": [9, 5]}
    grid, bins = ModelGrid(35440, 4, 96).to_dict(), {"n": 64, "step": 9.210340371976184e-4}
    save_model(
        tmp_path / "big.safetensors", teacher, ModelInfo("big", "big-1", "RNetE", arguments, grid, bins=bins)
    )
    network = RNetE(channels=(12, 8), kernels=(9, 5), stride=2, **SIZES)
    start_from(network, {"weights": str(tmp_path / "big.safetensors"), "slim": 1}, Waves())
    for name in ("direct.weight", "lag.0.weight", "other.2.weight"):
        # Weights files are a little coarser than training.
        torch.testing.assert_close(
            network.get_parameter(name), teacher.get_parameter(name), rtol=1e-2, atol=1e-3
        )


def test_a_teacher_must_fit(teacher):
    with pytest.raises(ValueError, match="the same pixels, bins"):
        slim(RNetE(stride=2), teacher, Waves(), 1)
    strided = RNetE(channels=(4,), kernels=(5,), stride=2, **SIZES)
    with pytest.raises(ValueError, match="with stride 1"):
        slim(strided, strided, Waves(), 1)
