"""The compact bank against the full one: a network trained on each for the same steps, judged on real quasars.

    specz-cnn train recipe.toml -o compact
    specz-cnn train recipe.toml --data DATA -o full
    python benchmarks/banks.py --data DATA compact/NAME.safetensors full/NAME.safetensors rnet-e

Redshifts are the networks' own, without the fit of eigenspectra; BOSS and eBOSS quasars of the validation half, labels of
trust 2 and up, each object counts once; 95 % intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from specz_cnn import ModelGrid, load_model
from specz_cnn.evaluate import redshift_metrics, split_half
from specz_cnn.evaluate.metrics import binomial_interval
from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.models.output import network_output
from specz_cnn.redshift.posterior import posterior
from specz_cnn.velocity import velocity_difference

_FIRST_BOSS_PLATE = 3510


def main():
    """Print a line for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_spectra.npz")
    parser.add_argument("models", nargs="+", help="weights files, or names of packaged models")
    args = parser.parse_args()
    with np.load(Path(args.data) / "dev_spectra.npz") as file:
        data = {name: file[name] for name in file}
    loglam = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    half, quasar = split_half(data["group"]) == "validation", data["cls"] == "QSO"
    chosen = half & quasar & (data["trust"] >= 2) & (data["plate"] >= _FIRST_BOSS_PLATE)
    rows = np.flatnonzero(chosen | (half & ~quasar & (data["trust"] >= 1)))
    grid = ModelGrid()
    spectra = []
    for i in rows:
        bad = bad_pixels(data["flux"][i], data["ivar"][i], data["and_mask"][i])
        spectra.append(grid.rebin(loglam, data["flux"][i], np.where(bad, 0, data["ivar"][i])))
    flux, ivar = (np.array(part, np.float32) for part in zip(*spectra, strict=True))
    group, truth, quasar = data["group"][rows], data["z"][rows], quasar[rows]
    weight = quasar / (group[:, None] == group).sum(1)
    print(f"{quasar.sum()} spectra of {weight.sum():.0f} quasars, {(~quasar).sum()} of stars and galaxies")
    for name in args.models:
        network = load_model(name)
        info = network.info
        output = np.concatenate(
            [network_output(network, flux[i : i + 64], ivar[i : i + 64]) for i in range(0, len(flux), 64)]
        )
        found = posterior(output, bins=info.bins, calibration=info.calibration, z_range=info.z_range)
        z = found.z
        dv = np.abs(velocity_difference(z, truth))
        cells = []
        for limit in (600, 3000):
            k, n = (weight * (dv < limit)).sum(), weight.sum()
            low, high = binomial_interval(k, n, level=0.95)
            cells.append(f"within {limit}: {k / n:.3f} ({low:.3f} to {high:.3f})")
        others = f"stars and galaxies called so {(found.p_qso[~quasar] < 0.5).mean():.3f}"
        metrics = redshift_metrics(z[quasar], truth[quasar], weights=weight[quasar])
        print(f"{name}: {', '.join(cells)}, NMAD {np.ravel(metrics['nmad'])[0]:.0f} km/s, {others}")


if __name__ == "__main__":
    main()
