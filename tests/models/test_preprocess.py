"""The input of the networks: what must not matter does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specz_cnn.io.convert import estimate_ivar
from specz_cnn.models.preprocess import standardise

N = 1212


@st.composite
def batches(draw):
    """A batch of spectra with lines, noise and bad pixels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 6))
    ivar = rng.gamma(2, 1, (n, N)) * rng.uniform(0.1, 10, (n, 1))
    ivar[rng.random((n, N)) < draw(st.sampled_from([0, 0.05, 0.9]))] = 0
    lines = 10 * np.exp(-0.5 * ((np.arange(N) - rng.uniform(0, N, (n, 1))) / 9) ** 2)
    flux = rng.uniform(-1, 5, (n, 1)) + lines + rng.normal(size=(n, N)) / np.sqrt(np.maximum(ivar, 0.05))
    return flux.astype(np.float32), ivar.astype(np.float32)


@given(batch=batches(), exponent=st.integers(-30, 30))
def test_scale_of_the_flux_does_not_matter(batch, exponent):
    flux, ivar = batch
    scale = np.float32(2.0) ** exponent  # exact, and the inverse square of ivar stays in range
    torch.testing.assert_close(
        standardise(scale * flux, ivar / scale**2), standardise(flux, ivar), rtol=0, atol=2e-5
    )


@given(batch=batches())
def test_rows_do_not_know_of_each_other(batch):
    flux, ivar = batch
    together = standardise(flux, ivar)
    assert together.shape == (len(flux), 2, N) and together.dtype == torch.float32
    for i in range(len(flux)):
        torch.testing.assert_close(
            standardise(flux[i : i + 1], ivar[i : i + 1])[0], together[i], rtol=0, atol=2e-6
        )
    torch.testing.assert_close(
        standardise(flux[::-1].copy(), ivar[::-1].copy()).flip(0), together, rtol=0, atol=2e-6
    )


@given(batch=batches(), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_bad_pixels_are_zero_and_without_influence(batch, bad):
    flux, ivar = batch
    hidden = np.arange(N) % 5 == 0
    expected = standardise(np.where(hidden, 0, flux), np.where(hidden, 0, ivar))
    assert not expected[:, :, hidden].any()
    assert torch.equal(standardise(np.where(hidden, bad, flux), ivar), expected)
    assert torch.equal(standardise(flux, np.where(hidden, bad, ivar)), expected)
    assert torch.equal(standardise(flux, np.where(hidden, -1, ivar).astype(np.float32)), expected)


@given(
    batch=batches(),
    value=st.sampled_from([1e30, -1e30, 3e38, -3e38]),
    share=st.sampled_from([0.001, 0.3, 1.0]),
)
def test_absurd_numbers_stay_finite(batch, value, share):
    flux, ivar = batch
    where = np.random.default_rng(0).random(flux.shape) < share
    for one, other in (
        (np.where(where, value, flux), ivar),
        (flux, np.where(where, abs(value), ivar)),
        (np.where(where, value, flux), np.where(where, abs(value), ivar)),
    ):
        x = standardise(one.astype(np.float32), other.astype(np.float32))
        assert torch.isfinite(x).all() and x.abs().max() <= 16


@given(batch=batches())
def test_input_is_not_changed(batch):
    flux, ivar = batch
    copies = flux.copy(), ivar.copy()
    standardise(flux, ivar)
    np.testing.assert_array_equal(flux, copies[0])
    np.testing.assert_array_equal(ivar, copies[1])


@pytest.mark.parametrize(("flux", "ivar"), [(0.0, 1.0), (3.0, 1.0), (2.0, 0.0), (np.nan, 1.0)])
def test_spectra_without_contents_are_zero(flux, ivar):
    x = standardise(np.full((2, N), flux, np.float32), np.full((2, N), ivar, np.float32))
    assert not x.any()


def test_an_empty_batch():
    assert standardise(np.zeros((0, N)), np.zeros((0, N))).shape == (0, 2, N)


class TestEstimatedNoise:
    def test_white_noise(self):
        rng = np.random.default_rng(1)
        good = rng.random(5000) > 0.1
        ivar = estimate_ivar(5 + np.linspace(0, 30, 5000) + 2 * rng.normal(size=5000), good)
        assert not ivar[~good].any() and np.ptp(ivar[good]) == 0
        assert ivar[good][0] ** -0.5 == pytest.approx(2, rel=0.1)

    def test_spikes_do_not_matter(self):
        rng = np.random.default_rng(2)
        flux = rng.normal(size=5000)
        flux[::100] += 1e4
        assert estimate_ivar(flux, np.ones(5000, bool))[0] ** -0.5 == pytest.approx(1, rel=0.15)

    @pytest.mark.parametrize(("flux", "expected"), [([], []), ([2.0], [2.5e5]), ([0.0, 0.0, 0.0], [1, 1, 1])])
    def test_few_or_equal_values(self, flux, expected):
        np.testing.assert_allclose(estimate_ivar(flux, np.ones(len(flux), bool)), expected)
