"""Second opinions in half precision: the same peaks as those of the network."""

from __future__ import annotations

import pytest
import torch

from specz_cnn.models import half, rnet
from specz_cnn.models.cache import cached_model
from specz_cnn.models.half import HalfRNetPZ
from specz_cnn.models.inference import InferenceRNet, prepare_for_inference
from specz_cnn.models.rnet import RNet, RNetPZ


@pytest.fixture(scope="module")
def x():
    # Smooth, like a spectrum.
    noise = torch.randn(5, 2, 1300, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.avg_pool1d(noise, 9, 1)[..., :1212] * 3


@pytest.mark.parametrize(("n_pixels", "rank"), [(1212, None), (1212, 128), (1209, None), (701, None)])
def test_logits_are_those_of_the_network_to_a_percent(x, n_pixels, rank):
    torch.manual_seed(3)
    network = RNetPZ(n_pixels=n_pixels, n_bins=50, rank=rank).eval()
    with torch.no_grad():
        for layer in (network.layer1, network.layer2, network.layer3, network.fc1, network.fc2):
            layer[0].weight.mul_(2)
            if layer[0].bias is not None:
                layer[0].bias.add_(0.1)
    x = x[..., :n_pixels].contiguous()
    wanted = network(x).detach()
    found = HalfRNetPZ(network).eval()(x)
    assert found.dtype == torch.float32 and wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.03 * float(wanted.std()))
    assert torch.equal(HalfRNetPZ(network)(x[:, 0]), found)
    torch.testing.assert_close(HalfRNetPZ(network)(x[:1]), found[:1], rtol=0, atol=0.01 * float(wanted.std()))
    assert HalfRNetPZ(network)(x[:0]).shape == (0, 51)


def test_only_opinions_of_machines_made_for_it(monkeypatch):
    network = RNetPZ(n_bins=50).eval()
    for has, kind in ((True, HalfRNetPZ), (False, InferenceRNet)):
        monkeypatch.setattr(rnet, "has_matrix_units", lambda has=has: has)
        prepared = prepare_for_inference(network, opinion=True)
        assert type(prepared) is kind and prepared.architecture is RNetPZ
        assert type(prepare_for_inference(network)) is InferenceRNet
    assert type(prepare_for_inference(RNet().eval(), opinion=True)) is InferenceRNet


def test_older_versions_of_torch_do_not_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert half.has_matrix_units() is False


def test_an_opinion_and_the_network_itself_are_kept_apart():
    first, second = cached_model("rnet-pz"), cached_model("rnet-pz", opinion=True)
    assert type(first) is InferenceRNet
    assert second is cached_model("rnet-pz", opinion=True) and second is not first
