"""The architectures: RNet as published, the p(z) head, and the equivariance of RNet-E."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from specz_cnn.models.fftconv import FFTConv1d, correlate, fft_length
from specz_cnn.models.rnet import RNet, RNetPZ, flat_size
from specz_cnn.models.rnet_e import RNetE


class PublishedRNet(nn.Module):
    """RNet as Moradi et al. wrote it, with plain convolutions."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv1d(1, 32, 200), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.layer2 = nn.Sequential(nn.Conv1d(32, 16, 200), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.layer3 = nn.Sequential(nn.Conv1d(16, 128, 20), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.drop_out = nn.Dropout()
        self.fc1 = nn.Sequential(nn.Linear(8576, 900), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(900, 100), nn.ReLU())
        self.fc3 = nn.Linear(100, 1)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc3(self.fc2(self.fc1(self.drop_out(x.flatten(1)))))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(11)


PUBLISHED_SHAPES = {
    "layer1.0.weight": (32, 1, 200),
    "layer1.0.bias": (32,),
    "layer2.0.weight": (16, 32, 200),
    "layer2.0.bias": (16,),
    "layer3.0.weight": (128, 16, 20),
    "layer3.0.bias": (128,),
    "fc1.0.weight": (900, 8576),
    "fc1.0.bias": (900,),
    "fc2.0.weight": (100, 900),
    "fc2.0.bias": (100,),
    "fc3.weight": (1, 100),
    "fc3.bias": (1,),
}


def test_rnet_has_the_published_parameters():
    network = RNet(n_pixels=1212)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == PUBLISHED_SHAPES
    assert [name for name, _ in network.named_children()] == [
        "layer1", "layer2", "layer3", "drop_out", "fc1", "fc2", "fc3",
    ]  # fmt: skip
    assert network.drop_out.p == 0.5


def test_published_state_dict_loads_and_gives_the_same_output():
    published, network = PublishedRNet().eval(), RNet().eval()
    network.load_state_dict(published.state_dict(), strict=True)
    x = torch.randn(3, 2, 1212)
    with torch.no_grad():
        torch.testing.assert_close(network(x), published(x[:, :1]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(x[:, 0]), network(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("n_pixels", "size"), [(1208, 8448), (1209, 8576), (1216, 8576), (1217, 8704), (2000, 21120), (681, 128)]
)
def test_flat_size(n_pixels, size):
    convolutions = nn.Sequential(*(RNet(1212).get_submodule(f"layer{i}") for i in (1, 2, 3)))
    assert flat_size(n_pixels) == size == convolutions(torch.zeros(1, 1, n_pixels)).numel()


def test_spectra_too_short_for_rnet_are_refused():
    with pytest.raises(ValueError, match="681"):
        flat_size(680)


def test_p_z_head_leaves_the_trunk_as_published():
    names = RNetPZ().state_dict()
    assert set(names) == set(PUBLISHED_SHAPES)
    head = ("fc2", "fc3")
    assert all(tuple(names[k].shape) == v for k, v in PUBLISHED_SHAPES.items() if not k.startswith(head))
    assert RNetPZ(n_bins=100, hidden=8).eval()(torch.zeros(2, 2, 1212)).shape == (2, 101)


def test_a_first_layer_as_the_product_of_two():
    """It begins as what is nearest to a whole one, of full rank the same, and a whole one begins as the product."""
    whole, product = RNetPZ(n_bins=50).eval(), RNetPZ(n_bins=50, rank=900).eval()
    narrow = RNetPZ(n_bins=50, rank=3).eval()
    assert [layer.weight.shape for layer in narrow.fc1[:2]] == [(3, 8576), (900, 3)]
    x = torch.randn(3, 2, 1212)
    with torch.no_grad():
        for begun, start in ((product, whole), (RNetPZ(n_bins=50).eval(), product), (narrow, narrow)):
            begun.load_state_dict(begun.adapt(start.state_dict()))
            torch.testing.assert_close(begun(x), start(x), rtol=1e-4, atol=1e-5)
        narrow.load_state_dict(narrow.adapt(whole.state_dict()))
        weight = narrow.fc1[1].weight @ narrow.fc1[0].weight
        lost = torch.linalg.svdvals(whole.fc1[0].weight)[3:].square().sum()
        torch.testing.assert_close((weight - whole.fc1[0].weight).square().sum(), lost, rtol=1e-3, atol=0)
        number = RNet().eval()
        number.load_state_dict(number.adapt({**whole.state_dict(), **_head(number)}))
        torch.testing.assert_close(number.trunk(x), whole.trunk(x))


def _head(network):
    return {name: value for name, value in network.state_dict().items() if name.startswith(("fc2", "fc3"))}


@pytest.mark.parametrize("kind", [RNet, RNetPZ])
def test_training_in_half_precision_computes_the_same(kind):
    network = kind(dropout=0.0).train()
    x = torch.randn(3, 2, 1212)
    exact = network.trunk(x)
    with torch.autocast("cpu", torch.bfloat16):  # filters as written, channels last
        rough = network.trunk(x)
        assert network(x).dtype == torch.float32  # half precision is too coarse for the last layers
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.02 * exact.max().item())
    gradients = [
        torch.autograd.grad(y.float().square().mean(), network.layer2[0].weight)[0] for y in (exact, rough)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=0.05 * gradients[0].abs().max().item())


@pytest.mark.parametrize(("n_in", "n_out", "kernel", "n"), [(1, 4, 20, 90), (5, 3, 31, 64), (2, 2, 7, 7)])
def test_fft_convolution_equals_the_direct_one(n_in, n_out, kernel, n):
    fast, direct = FFTConv1d(n_in, n_out, kernel).double(), nn.Conv1d(n_in, n_out, kernel).double()
    fast.load_state_dict(direct.state_dict(), strict=True)
    x = torch.randn(3, n_in, n, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(fast(x), direct(x), rtol=1e-10, atol=1e-10)
    parameters = [x, *fast.parameters()]
    wanted = torch.autograd.grad(direct(x).square().sum(), [x, *direct.parameters()])
    found = torch.autograd.grad(fast(x).square().sum(), parameters)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_correlation_equals_its_definition():
    features, templates = torch.randn(2, 3, 7), torch.randn(4, 3, 12)
    n_fft = fft_length(12)
    padded = nn.functional.pad(templates, (0, n_fft - 12))
    wanted = torch.stack(
        [(features[:, None] * padded.roll(-m, 2)[None, ..., :7]).sum((2, 3)) for m in range(n_fft)], 2
    )
    torch.testing.assert_close(correlate(features, templates, n_fft), wanted, rtol=1e-4, atol=1e-5)


def test_gradients_of_the_correlation():
    features = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    templates = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda f, t: correlate(f, t, 8), (features, templates))
    assert gradcheck(lambda f: correlate(f, templates.detach(), 9), (features,))
    assert gradcheck(lambda t: correlate(features.detach(), t, 9), (templates,))


@pytest.mark.parametrize(("n", "length"), [(2, 2), (3, 4), (7, 8), (13, 16), (3484, 3600), (506, 512)])
def test_fft_length(n, length):
    assert fft_length(n) == length


@pytest.mark.parametrize(("shift", "stride"), [(1, 1), (40, 1), (150, 1), (2, 2), (40, 4)])
def test_redshift_is_a_shift(shift, stride):
    """A spectrum moved by some pixels, a multiple of the stride, has its logits moved by as many bins."""
    arguments = {"channels": (6, 5), "kernels": (9, 5), "n_templates": 3, "stride": stride}
    network = RNetE(n_pixels=300, n_bins=400, **arguments).eval()
    x = torch.zeros(2, 2, 300)
    x[..., 20:130] = torch.randn(2, 2, 110)
    moved = x.roll(shift, 2)
    with torch.no_grad():
        logits, moved_logits = network(x)[:, :-1], network(moved)[:, :-1]
    edge = 4  # the convolutions along the lag see beyond the first and last bins
    torch.testing.assert_close(
        moved_logits[:, shift + edge : -edge], logits[:, edge : -shift - edge], rtol=1e-4, atol=1e-5
    )
    assert logits.std() > 1e-3


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_template_pixel_of_a_line_does_not_depend_on_its_redshift(stride):
    """At bin k, the feature of pixel n meets template pixel n - k + n_bins."""
    arguments = {"channels": (2,), "kernels": (3,), "n_templates": 3, "stride": stride}
    network = RNetE(n_pixels=50, n_bins=80, **arguments).eval()
    features = torch.zeros(1, 2, 50 // stride)
    features[0, 1, 7] = 1.0
    with torch.no_grad():
        correlation = network.correlate(features)[0]
        wanted = network.templates[:, 1, 7 * stride - torch.arange(80) + 80]
    torch.testing.assert_close(correlation, wanted, rtol=1e-4, atol=1e-6)


def test_a_stride_must_divide_pixels_and_bins():
    with pytest.raises(ValueError, match="stride 3 does not divide both 50 pixels and 81 bins"):
        RNetE(n_pixels=50, n_bins=81, stride=3)


def test_packaged_size_of_rnet_e():
    network = RNetE()
    assert network(torch.randn(2, 2, 1212)).shape == (2, 2273)
    assert sum(p.numel() for p in network.parameters()) < 1_000_000
