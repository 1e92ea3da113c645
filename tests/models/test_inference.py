"""Prepared networks give what the networks give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from specz_cnn.models import inference
from specz_cnn.models.inference import InferenceRNet, InferenceRNetE, prepare_for_inference
from specz_cnn.models.registry import list_models, load_model
from specz_cnn.models.rnet import RNet, RNetPZ
from specz_cnn.models.rnet_e import RNetE

SPEED_OF_LIGHT = 299792.458  # km/s


def lived_in(network):
    """Give every parameter and statistic a value that matters."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            random = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.3 * random.abs())
            elif tensor.dim() == 1:
                tensor.add_(0.2 * random)
            elif name in ("templates", "lag_bias"):
                tensor.copy_(0.1 * random)
    return network.eval()


NETWORKS = {
    "rnet": lambda: RNet(),
    "rnet-pz": lambda: RNetPZ(),
    "rnet-pz, product": lambda: RNetPZ(n_bins=50, rank=32),
    "rnet, short": lambda: RNet(n_pixels=701),
    "rnet-e": lambda: RNetE(),
    "rnet-e, odd sizes": lambda: RNetE(
        n_pixels=301, n_bins=403, channels=(5, 3), kernels=(9, 5), n_templates=3, lag_width=7, n_segments=7
    ),
    "rnet-e, stride": lambda: RNetE(
        n_pixels=306, n_bins=408, channels=(5, 6), kernels=(9, 5), n_templates=3, n_segments=7, stride=3
    ),
    "rnet-e, tiles of 4": lambda: RNetE(n_pixels=200, n_bins=300, n_templates=2, lag_width=21),
}


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def network(request):
    torch.manual_seed(3)
    return lived_in(NETWORKS[request.param]())


@pytest.fixture(scope="module")
def x(network):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(37, 2, network.n_pixels, generator=generator)


def assert_same(found, wanted):
    scale = wanted.abs().max()
    torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=2e-5)


def test_output_equals_that_of_the_network(network, x):
    prepared = prepare_for_inference(network)
    with torch.inference_mode():
        wanted = network(x)
    assert wanted.std() > 1e-4
    assert_same(prepared(x), wanted)
    for n in (0, 1, 2):
        assert prepared(x[:n]).shape == (n, wanted.shape[1])


def test_no_autograd_and_nothing_changed(network, x):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    original = x.clone()
    prepared = prepare_for_inference(network)
    output = prepared(x)
    assert not output.requires_grad and torch.equal(x, original)
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_output_does_not_depend_on_batch_chunk_or_threads(network, x, monkeypatch):
    prepared = prepare_for_inference(network)
    wanted = prepared(x)
    assert torch.equal(prepared(x), wanted)  # to the last bit where nothing changed
    assert_same(torch.cat([prepared(row[None]) for row in x[:5]]), wanted[:5])
    assert_same(prepared(x.flip(0)), wanted.flip(0))
    monkeypatch.setattr(inference, "_CHUNK", 5)
    monkeypatch.setattr(inference, "_DENSE_CHUNK", 7)
    assert_same(prepared(x), wanted)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_same(prepared(x), wanted)
    finally:
        torch.set_num_threads(threads)


def test_layout_and_offset_of_the_input_do_not_matter(network, x):
    prepared = prepare_for_inference(network)
    wanted = prepared(x)
    assert_same(prepared(x.transpose(1, 2).contiguous().transpose(1, 2)), wanted)
    assert_same(prepared(torch.cat([x, x])[37:]), wanted)


def test_one_bad_spectrum_does_not_touch_the_others(network, x):
    prepared = prepare_for_inference(network)
    wanted = prepared(x)
    bad = x.clone()
    bad[20] = torch.nan
    found = prepared(bad)
    keep = torch.arange(len(x)) != 20
    assert torch.equal(found[keep], wanted[keep])


def test_convolutions_of_rnet(network, x):
    if not isinstance(network, RNet):
        assert isinstance(prepare_for_inference(network), InferenceRNetE)
        return
    prepared = prepare_for_inference(network)
    assert isinstance(prepared, InferenceRNet)
    with torch.inference_mode():
        assert_same(prepared.convolutions(x), network.convolutions(x))
        assert_same(prepared(x[:, 0]), network(x))


def test_grid_and_info_come_along():
    network = RNet().eval()
    network.grid, network.info = "grid", "info"
    prepared = prepare_for_inference(network)
    assert (prepared.grid, prepared.info) == ("grid", "info")


def test_other_networks_are_left_alone():
    other = nn.Linear(3, 2).eval()
    assert prepare_for_inference(other) is other


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match=r"eval\(\)"):
        prepare_for_inference(RNet().train())


def test_fft_lengths():
    lengths = [inference._fft_length(n) for n in (1, 2, 3, 5, 11, 153, 506, 1212, 3483, 4097)]
    assert lengths == [1, 2, 3, 5, 12, 160, 512, 1280, 3584, 4608]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same(network, x):
    wanted = prepare_for_inference(network)(x)
    prepared = prepare_for_inference(network.to("cuda"))
    network.to("cpu")
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        assert_same(prepared(x.to("cuda")).cpu(), wanted)


def redshift(output, info):
    """ln(1 + z) of the best peak: the mean within 3000 km/s of the maximum."""
    output = output.double()
    if info.bins is None:
        return output[:, 0] * info.target["std"] + info.target["mean"]
    u = (torch.arange(info.bins["n"]) + 0.5) * info.bins["step"]
    p = torch.softmax(output[:, :-1], 1)
    near = (u - u[p.argmax(1)][:, None]).abs() < 0.01
    return (p * near * u).sum(1) / (p * near).sum(1)


@pytest.mark.parametrize("name", list_models())
def test_packaged_networks_on_real_spectra(name, data_dir):
    network = load_model(name)
    with np.load(data_dir / "dev_spectra.npz") as file:
        rows = np.arange(0, len(file["z"]), 10)
        loglam = float(file["loglam0"]) + float(file["dloglam"]) * np.arange(file["flux"].shape[1])
        flux, ivar = file["flux"][rows], file["ivar"][rows]
    pairs = [network.grid.rebin(loglam, f, i) for f, i in zip(flux, ivar, strict=True)]
    x = network.preprocess(*(np.stack(values) for values in zip(*pairs, strict=True)))
    prepared = prepare_for_inference(network)
    if prepared is network:  # nothing faster is known, and nothing can differ
        return
    with torch.inference_mode():
        wanted = redshift(network(x), network.info)
    single = torch.cat([prepared(row[None]) for row in x[:10]])
    assert (redshift(prepared(x), network.info) - wanted).abs().max() * SPEED_OF_LIGHT < 1.0
    assert (redshift(single, network.info) - wanted[:10]).abs().max() * SPEED_OF_LIGHT < 1.0
