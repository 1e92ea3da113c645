"""QuasarNET: architecture, loss and reading as published, and what the rest of the package makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.quasarnet import (
    FIRST_WAVELENGTH,
    LINES,
    QuasarNET,
    line_targets,
    quasarnet_loss,
    weighted_standardise,
)
from specz_cnn.redshift.posterior import posterior

GRID = ModelGrid(35564, 10, 443)
BINS = {"n": 2272, "step": GRID.step * 0.4}
NOT_BAL = torch.zeros(4)
Z = torch.tensor([0.1, 0.9, 2.3, 2.9])
QUASARS = torch.ones(4, dtype=torch.bool)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(7)


def perfect(z=Z, confidence=0.999):
    """The output of a network that knows all lines."""
    box, offset = line_targets(z, torch.ones(len(z), dtype=torch.bool), is_bal=torch.zeros(len(z)))
    logit = float(np.log(confidence / (1 - confidence)))
    return torch.cat([logit * (2 * box - 1), offset[..., None].expand(-1, -1, 13)], 2)


class Fixed(nn.Module):
    """A network whose output is given."""

    n_pixels, n_lines_needed = 443, 2
    info = SimpleNamespace(bins=BINS)

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


def test_published_shapes():
    network = QuasarNET()
    assert sum(parameter.numel() for parameter in network.parameters()) == 520_882
    sizes, x = [], torch.randn(2, 1, 443)
    for layer in network.features:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(100, 217), (100, 104), (100, 48), (100, 20)]
    assert network.dense[0].in_features == 2000 and network.dense[1].eps == 1e-3
    output = network(torch.randn(3, 443))
    assert output.shape == (3, 7, 26)
    assert -0.1 <= output[..., 13:].min() and output[..., 13:].max() <= 1.1
    with pytest.raises(ValueError, match="at least"):
        QuasarNET(n_pixels=100)


def test_pixels_hold_what_the_published_bins_hold():
    native = np.arange(35500, 40100)
    published = np.floor((native * 1e-4 - np.log10(FIRST_WAVELENGTH)) / 1e-3)
    ours = (native - GRID.start) // GRID.factor
    inside = (ours >= 0) & (ours < 443)
    np.testing.assert_array_equal(published[inside], ours[inside])


def test_targets():
    box, offset = line_targets(Z, QUASARS, is_bal=torch.tensor([0.0, 0, 1, 0]))
    seen = dict(zip(LINES, box.sum(2).bool().T.tolist(), strict=True))
    assert seen["Lya"] == [False, False, True, True]
    assert seen["Ha"] == [True, False, False, False]
    assert seen["MgII"] == [False, True, True, False]
    assert seen["CIV_BAL"] == [
        False,
        False,
        True,
        False,
    ]  # the others are no BALs, or their C IV is out of range
    # Lya at z = 2.3: log10(1215.67 * 3.3 / 3600) / 1e-3 = 47.08 pixels of 443 in 13 boxes.
    place = np.log10(1215.67 * 3.3 / 3600) / 1e-3 / 443 * 13
    assert box[2, 0].argmax() == int(place) and offset[2, 0].item() == pytest.approx(place % 1, abs=1e-5)
    assert not line_targets(Z, ~QUASARS, is_bal=NOT_BAL)[0].any()


def test_loss_as_published():
    """Written once more with loops, line by line, for random output."""
    output = torch.cat([torch.randn(4, 7, 13), torch.rand(4, 7, 13)], 2).double()
    quasar = torch.tensor([True, True, True, False])
    box, offset = (x.double() for x in line_targets(Z, quasar, is_bal=NOT_BAL))
    expected = 0.0
    for line in range(7):
        y, c, o = box[:, line], output[:, line, :13].sigmoid(), output[:, line, 13:]
        n_full, n_empty = y.sum() + 1e-7, (1 - y).sum() + 1e-7
        expected += -(y * c.log()).sum() / n_full - ((1 - y) * (1 - c).log()).sum() / n_empty
        expected += (y * (offset[:, line, None] - o) ** 2).sum() / n_full
    found = quasarnet_loss(output, Z, quasar, is_bal=NOT_BAL)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_loss_of_a_perfect_network_is_small_and_unknown_bals_do_not_count():
    assert quasarnet_loss(perfect(), Z, QUASARS, is_bal=NOT_BAL) < 0.02
    wrong = perfect()
    wrong[:, -1, 3] = 9.0
    unknown = torch.full((4,), torch.nan)
    assert quasarnet_loss(wrong, Z, QUASARS, is_bal=unknown) < 0.02
    assert quasarnet_loss(wrong, Z, QUASARS) < 0.02
    assert quasarnet_loss(wrong, Z, QUASARS, is_bal=NOT_BAL) > 0.1


def test_reading_is_the_inverse_of_the_targets():
    confidence, z = QuasarNET().read_lines(perfect())
    seen = confidence > 0.5
    expected = Z.double()[:, None].expand_as(z)
    torch.testing.assert_close(z[seen], expected[seen], rtol=0, atol=1e-5)
    assert seen.sum(1).tolist() == [2, 3, 4, 3]


def test_common_form_and_posterior():
    """z of the most confident line, p(z) of all lines, and the odds of the second line."""
    output = perfect()
    output[2, 1, :13] *= 1.5  # C IV is the most confident line, and puts the redshift a little higher
    output[2, 1, 13:] += 0.02
    columns = QuasarNET.read(Fixed(output), None)
    assert columns.shape == (4, BINS["n"] + 2)
    torch.testing.assert_close(columns[:, :-2].exp().sum(1), torch.ones(4, dtype=torch.float64))
    found = posterior(columns.numpy(), bins=BINS)
    step = 0.02 * 443 / 13 * 1e-3 * np.log(10)
    expected = np.log1p(Z.numpy()) + np.array([0, 0, step, 0])
    np.testing.assert_allclose(np.log1p(found.z), expected, atol=2e-6)
    np.testing.assert_allclose(found.p_qso_logit, np.log(0.999 / 0.001), atol=1e-4)
    assert (found.score > 2).all()
    assert ((found.z_lo < Z.numpy()) & (found.z_hi > Z.numpy()))[[0, 1, 3]].all()


def test_one_line_is_no_quasar_and_disagreeing_lines_are_no_confidence():
    one = perfect()
    one[:, 1:, :13] = one[:, 1:, :13].clamp(max=-5)
    assert (posterior(QuasarNET.read(Fixed(one), None).numpy(), bins=BINS).p_qso[2:] < 0.01).all()
    other = perfect(torch.tensor([0.1, 0.9, 2.8, 2.9]))
    mixed = perfect()
    mixed[2, 1:3] = other[2, 1:3]
    found = posterior(QuasarNET.read(Fixed(mixed), None).numpy(), bins=BINS)
    assert 0.2 < 1 / (1 + np.exp(-found.score[2])) < 0.8 and found.p_second[2] > 0.2


def test_preprocessing():
    rng = np.random.default_rng(1)
    flux, ivar = rng.normal(3, 1, (3, 443)), rng.uniform(0.1, 2, (3, 443))
    ivar[1, 100:200] = 0
    x = weighted_standardise(flux, ivar).double().numpy()
    np.testing.assert_allclose((ivar * x).sum(1), 0, atol=1e-4)
    np.testing.assert_allclose((ivar * x**2).sum(1) / ivar.sum(1), 1, rtol=1e-5)
    assert (x[1, 100:200] == 0).all()
    flux[1, 100:200] = np.nan
    for scale in (1e-30, 1e17):
        again = weighted_standardise(scale * flux, ivar / scale**2)
        np.testing.assert_allclose(again, x, atol=1e-5)
    for bad in (np.zeros((2, 443)), np.full((2, 443), np.nan)):
        assert not weighted_standardise(bad, np.ones((2, 443))).any()
    assert weighted_standardise(np.zeros((0, 443)), np.zeros((0, 443))).shape == (0, 443)
