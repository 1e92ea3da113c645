"""The classical estimator: eigenspectra at every redshift, as a network like the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models import ModelInfo, load_model, save_model
from specz_cnn.models.eigenspectra import SAMPLE, Eigenspectra
from specz_cnn.models.network import architectures
from specz_cnn.models.output import network_output
from specz_cnn.models.pca import PCA

GRID = ModelGrid()
N_BINS = 2272


def eigenspectra():
    """Three smooth random spectra with lines."""
    rng = np.random.default_rng(3)
    n = 6967
    x = np.arange(n)
    rows = []
    for _ in range(3):
        places = rng.uniform(0, n, 50)[:, None]
        rows.append((rng.normal(size=(50, 1)) * np.exp(-0.5 * ((x - places) / 15) ** 2)).sum(0))
    rows[0] += 3
    return Eigenspectra(torch.from_numpy(np.array(rows, np.float32)), 26357.5, torch.full((3,), 1e-3))


EIGEN = eigenspectra()


@pytest.fixture(scope="module")
def network():
    return PCA.of(EIGEN, GRID, N_BINS)


def observed(u, noise, seed=0):
    sample = (GRID.loglam / 1e-4 - 1e4 * u / np.log(10) - EIGEN.start) / SAMPLE
    rows = [np.interp(sample, np.arange(6967), row) for row in EIGEN.values.numpy()]
    rng = np.random.default_rng(seed)
    flux = np.array([1.0, 0.6, -0.5]) @ np.array(rows) + noise * rng.normal(size=GRID.n_pixels)
    return flux.astype(np.float32), np.full(GRID.n_pixels, noise**-2, np.float32)


@pytest.mark.parametrize("k", [0, 5, 700, 1500, 2270])
def test_every_bin_has_its_redshift(network, k):
    flux, ivar = observed((k + 0.5) * GRID.step, 0.05)
    logits = network(PCA.preprocess(flux[None], ivar[None]))[0].numpy()
    assert logits[:-1].argmax() == k
    assert logits[-1] < logits[k] - 10


def test_logits_are_chi2(network):
    k = 1200
    flux, ivar = observed((k + 0.5) * GRID.step, 0.2)
    logits = network(PCA.preprocess(flux[None], ivar[None]))[0].numpy()
    root = np.sqrt(ivar.astype(float))
    chi2 = []
    for j in (k, k + 2):
        sample = (GRID.loglam / 1e-4 - 4 * (j + 0.5) - EIGEN.start) / SAMPLE
        x = np.linspace(-1, 1, GRID.n_pixels)
        rows = [np.interp(sample, np.arange(6967), row) for row in EIGEN.values.numpy()]
        vectors = np.array([*rows, np.ones_like(x), x, x**2])
        solution = np.linalg.lstsq((vectors * root).T, flux * root, rcond=None)[0]
        chi2.append(np.sum((root * (flux - solution @ vectors)) ** 2))
    temperature = 4.0 * max(1, chi2[0] / (GRID.n_pixels - 6))
    expected = -0.5 * (chi2[1] - chi2[0]) / temperature
    assert logits[k + 2] - logits[k] == pytest.approx(expected, rel=0.02)


def test_scale_does_not_matter(network):
    flux, ivar = observed(0.8, 0.2)
    one = network(PCA.preprocess(flux[None], ivar[None]))
    other = network(PCA.preprocess(1e-17 * flux[None], (1e34 * ivar[None].astype(float))))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=0.05)


def test_as_a_weights_file(network, tmp_path):
    arguments = {"n_pixels": 1212, "n_bins": N_BINS, "n_spectra": 3, "first": network.first}
    info = ModelInfo(
        "classic", "classic-1", "PCA", arguments, GRID.to_dict(), bins={"n": N_BINS, "step": GRID.step}
    )
    save_model(tmp_path / "classic.safetensors", network, info)
    loaded = load_model(tmp_path / "classic.safetensors")
    flux, ivar = observed(1.1, 0.1)
    with torch.inference_mode():
        expected = network(PCA.preprocess(flux[None], ivar[None])).numpy()
    output = network_output(loaded, flux[None], ivar[None])
    # Stored in half precision.
    assert output.argmax() == expected.argmax()
    np.testing.assert_allclose(output, expected, rtol=0.05, atol=1)
    assert architectures()["PCA"] is PCA
