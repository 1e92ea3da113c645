"""Learning eigenspectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specz_cnn.commands import UsageError
from specz_cnn.commands.eigenspectra import run
from specz_cnn.io.grid import ModelGrid
from specz_cnn.models import load_model
from specz_cnn.models.eigenspectra import SAMPLE, SHIFT, read_eigenspectra, write_eigenspectra
from specz_cnn.training.eigenspectra import Quasars, learn, read_settings, reconstruct, save_pca

GRID = ModelGrid()


def test_reconstruction_finds_what_spectra_are_made_of():
    rng = np.random.default_rng(1)
    n_samples = 2 * (GRID.n_pixels - 1) + 1
    shift = rng.integers(0, 3000, 250)
    places = np.arange(-3001, n_samples)
    parts = np.array([1 + 0.5 * np.sin(places / 90), np.exp(-0.5 * ((places - 300) % 700 - 350) ** 2 / 400)])
    amounts = np.stack([np.ones(250), rng.uniform(0.2, 2, 250)], 1)
    flux = np.array(
        [a @ parts[:, 3001 - s : 3001 - s + n_samples] for a, s in zip(amounts, shift, strict=True)]
    )
    z = torch.from_numpy(np.expm1(shift * SHIFT))
    found = reconstruct(Quasars(torch.from_numpy(flux).float(), z, z), GRID, n_spectra=2, iterations=20)
    # The same space: each part is a combination of what was found, where spectra have shown it.
    low = round((found.start - (GRID.start + 1.5)) / SAMPLE)
    seen = slice(100, len(places) - 400)
    values = found.values.numpy()[:, places[seen] - low]
    for part in parts[:, seen]:
        solution = np.linalg.lstsq(values.T, part, rcond=None)[0]
        assert np.std(solution @ values - part) < 0.05 * np.std(part)


def small(**changes):
    settings = read_settings()
    settings["simulation"] |= {"n": 300}
    settings["reconstruct"] |= {"iterations": 3, "n_describing": 5}
    settings["refine"] |= {"steps": 6, "batch_size": 8} | changes
    return settings


@pytest.mark.slow
def test_from_simulation_to_weights(data_dir, tmp_path):
    lines = []
    measuring, describing = learn(data_dir, small(), progress=lines.append)
    assert len(measuring) == 4 and len(describing) == 5 and "eigenspectra" in lines[1]
    assert torch.isfinite(measuring.values).all() and (measuring.prior > 0).all()
    torch.testing.assert_close(measuring.values.square().mean(1), torch.ones(4))
    write_eigenspectra(tmp_path / "e.npz", measuring, describing)
    assert torch.equal(read_eigenspectra(tmp_path / "e.npz")[1].values, describing.values)
    info = save_pca(tmp_path / "pca.safetensors", tmp_path / "e.npz", small())
    network = load_model(tmp_path / "pca.safetensors")
    assert info.architecture == "PCA" and network.spectra.shape[0] == 5
    again, _ = learn(data_dir, small())
    assert torch.equal(again.values, measuring.values)


def test_one_thing_at_a_time(tmp_path):
    from argparse import Namespace

    both = Namespace(data="x", pca="y", output=str(tmp_path / "e.npz"), recipe=None, seed=None)
    with pytest.raises(UsageError, match="--data"):
        run(both)
