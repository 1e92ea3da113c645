"""FNet as published, its filters through the FFT, and the coarse one that is not the published network."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from specz_cnn.models.fnet import (
    BLOCKS,
    FNet,
    FNetCoarse,
    FNetCoarsePZ,
    FNetRegression,
    ResidualUnit,
    scale_to_unit,
)
from specz_cnn.training.sources import Examples


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(4)


def convolutions(network):
    """Convolutions that are not projections of a skip connection."""
    return [m for m in network.modules() if isinstance(m, nn.Conv1d) and m.kernel_size[0] > 1]


def test_published_parameters():
    with torch.device("meta"):
        network = FNet(n_pixels=4618)
    assert sum(parameter.numel() for parameter in network.parameters()) == 10_171_944
    assert len(convolutions(network)) == 24
    channels = [(unit.conv1.in_channels, unit.conv1.out_channels) for unit in network.units]
    assert channels == [(1, 32)] + 4 * [(32, 32)] + [(32, 64), (64, 32), (32, 1)]
    assert [isinstance(unit.skip, nn.Conv1d) for unit in network.units] == [True] + 4 * [False] + 3 * [True]
    assert [layer.out_features for layer in network.layers if isinstance(layer, nn.Linear)] == [796, 199, 1]
    assert sum(n for *_, n in BLOCKS) == 8
    cost = 4618 * sum(c.in_channels * c.out_channels * c.kernel_size[0] for c in convolutions(network))
    assert cost == pytest.approx(29e9, rel=0.02)


def test_lengths_within_a_unit():
    """4618, 4619, 4620, 4618 pixels, as published; here of a unit of few channels."""
    unit = ResidualUnit(1, 2, (500, 200, 15), project=True).eval()
    assert [layer.padding for layer in (unit.conv1, unit.conv2, unit.conv3)] == [(250,), (100,), (6,)]
    first = unit.conv1(torch.randn(1, 1, 4618))
    second = unit.conv2(first)
    assert (first.shape[-1], second.shape[-1], unit.conv3(second).shape[-1]) == (4619, 4620, 4618)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 3), (3, 2)])
def test_a_unit_is_that_of_plain_convolutions(n_in, n_out):
    unit = ResidualUnit(n_in, n_out, (50, 20, 15), project=True)
    x = torch.randn(2, n_in, 300)
    plain = nn.Sequential(
        nn.Conv1d(n_in, n_out, 50, padding=25), nn.BatchNorm1d(n_out), nn.ReLU(),
        nn.Conv1d(n_out, n_out, 20, padding=10), nn.BatchNorm1d(n_out), nn.ReLU(),
        nn.Conv1d(n_out, n_out, 15, padding=6), nn.BatchNorm1d(n_out),
    )  # fmt: skip
    for mine, other in ((unit.conv1, plain[0]), (unit.conv2, plain[3]), (unit.conv3, plain[6])):
        other.load_state_dict(mine.state_dict())
    found = unit(x[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, (plain(x) + unit.skip(x)).relu(), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):  # in half precision the filters are applied directly
        rough = unit(x[:, :, None])[:, :, 0]
    torch.testing.assert_close(rough.float(), found, rtol=0.1, atol=0.1)


def test_kernels_that_change_the_length():
    with pytest.raises(ValueError, match="length"):
        ResidualUnit(1, 2, (5, 4, 3), project=True)


def test_the_coarse_one_says_so():
    network = FNetCoarse().eval()
    assert network.n_pixels == 1212 and {c.kernel_size[0] for c in convolutions(network)} == {125, 50, 4}
    assert len(convolutions(network)) == 24
    with torch.no_grad():
        assert network(torch.rand(2, 1212)).shape == (2, 1)
    assert "Not the published network" in FNetCoarse.__doc__


@pytest.mark.parametrize(
    ("target", "expected"),
    [({"mean": 0.0, "std": 7.0, "of": "z"}, np.log1p(3.5)), ({"mean": 1.0, "std": 0.4}, 1.2)],
)
def test_reading(target, expected):
    network = FNetCoarse(n_pixels=40, kernels=(5, 4, 4), hidden=(8, 4)).eval()
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.layers[-1].bias.fill_(0.5)
    network.info = SimpleNamespace(target=target)
    with torch.no_grad():
        output = FNet.read(network, torch.rand(3, 40))
    np.testing.assert_allclose(output[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(output[:, 1], 0, atol=1e-6)


def test_published_loss():
    objective = FNet.objective(None, target={"mean": 0.0, "std": 7.0, "of": "z"})
    assert isinstance(objective, FNetRegression)
    examples = Examples(torch.zeros(3, 4), torch.tensor([3.5, 7.0, 1.0]), torch.tensor([True, True, False]))
    output = lambda x: torch.tensor([[0.5], [0.8], [0.0]])
    assert objective.loss(output, examples).item() == pytest.approx(0.02)
    assert objective.estimate(output, examples.x)[0].tolist() == pytest.approx([3.5, 5.6, 0.0])


def test_preprocessing():
    rng = np.random.default_rng(2)
    flux, ivar = rng.normal(3, 1, (2, 400)), np.ones((2, 400))
    x = scale_to_unit(flux, ivar)
    y = (flux - flux.mean(1, keepdims=True)) / flux.std(1, ddof=1, keepdims=True)
    y = y - y.min(1, keepdims=True) + 0.001
    np.testing.assert_allclose(x, y / y.max(1, keepdims=True), rtol=1e-5)
    # Gaps are bridged by straight lines, ends by the nearest pixel.
    ivar[0, 100:104], ivar[0, :7] = 0, 0
    gap = flux.copy()
    gap[0, 100:104] = np.interp(np.arange(100, 104), [99, 104], flux[0, [99, 104]])
    gap[0, :7] = flux[0, 7]
    flux[0, 100:104] = np.nan
    np.testing.assert_allclose(scale_to_unit(flux, ivar), scale_to_unit(gap, np.ones((2, 400))), atol=1e-6)
    np.testing.assert_allclose(scale_to_unit(1e-17 * flux, 1e34 * ivar), scale_to_unit(flux, ivar), atol=1e-6)
    assert not scale_to_unit(np.full((2, 400), 5.0), np.ones((2, 400))).any()
    assert not scale_to_unit(flux, 0 * ivar).any()


def test_the_step_before_the_number():
    """Weights of the network with bins start those of the one with a number, whose ramps add up to it."""
    bins, number = FNetCoarsePZ(), FNetCoarse()
    assert bins(torch.rand(2, 1212)).shape == (2, 1137)
    start = {k: v for k, v in bins.state_dict().items() if k.startswith(("units.", "layers.0."))}
    assert not number.load_state_dict(start, strict=False).unexpected_keys
    ordinal = {"low": 0.0, "high": 2.0919, "weight": 1.0}
    number.eval().objective(target={"mean": 1.1, "std": 0.45}, ordinal=ordinal)
    x = torch.rand(2, 1212)
    ramps = number.last_layers[0](number.trunk(x))[:, :99].clamp(0, 1)
    expected = (2.0919 * ramps.mean(1, keepdim=True) - 1.1) / 0.45
    torch.testing.assert_close(number(x), expected, rtol=1e-4, atol=1e-5)
