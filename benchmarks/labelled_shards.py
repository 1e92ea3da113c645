"""Labelled real spectra as shards, for the calibration of the packaged weights.

    python benchmarks/labelled_shards.py --data DIRECTORY -o real-calibration [--half calibration]

Spectra of one half of the objects (`specz_cnn.evaluate.split_half`), labels of trust 1 and up; each object has weight one,
however often it was observed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from specz_cnn.evaluate import split_half
from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.training.recipe import read_recipe
from specz_cnn.training.shards import ShardWriter


def main():
    """Write the shards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_spectra.npz")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--half", default="calibration", choices=("calibration", "validation"))
    parser.add_argument("--grid-of", default="rnet-e", metavar="RECIPE", help="recipe whose grid to use")
    args = parser.parse_args()
    with np.load(Path(args.data) / "dev_spectra.npz") as file:
        data = {name: file[name] for name in file}
    loglam = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    _, inverse, count = np.unique(data["group"], return_inverse=True, return_counts=True)
    grid = read_recipe(args.grid_of).grid
    writer = ShardWriter(args.output, grid)
    for i in np.flatnonzero((split_half(data["group"]) == args.half) & (data["trust"] >= 1)):
        bad = bad_pixels(data["flux"][i], data["ivar"][i], data["and_mask"][i])
        flux, ivar = grid.rebin(loglam, data["flux"][i], np.where(bad, 0, data["ivar"][i]))
        name = (int(data["plate"][i]), int(data["mjd"][i]), int(data["fiber"][i]))
        quasar = data["cls"][i] == "QSO"
        writer.add(
            flux, ivar, (*name, float(data["z"][i]), quasar, float(data["sn"][i]), 1 / count[inverse[i]])
        )
    writer.flush()


if __name__ == "__main__":
    main()
