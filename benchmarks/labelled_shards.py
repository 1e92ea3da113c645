"""Labelled real spectra as shards, for the calibration of the packaged weights.

    python benchmarks/labelled_shards.py --data DIRECTORY -o real [--frame systemic] [--half calibration]
    python benchmarks/labelled_shards.py --data DIRECTORY -o high --high-redshift

Spectra of one half of the objects (`specz_cnn.evaluate.split_half`), SDSS's with labels of trust 1 and up; each object has
weight one, however often it was observed.  For ``--frame systemic`` quasars at z > 1.8 are left out: there labels follow the
shifted lines of high ionisation.  With ``--high-redshift`` the quasars at 3.5 < z < 6.6 with redshifts of Mg II, [C II] or CO.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from specz_cnn.evaluate import split_half
from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.training.recipe import read_recipe
from specz_cnn.training.shards import ShardWriter

_ONE_FRAME = 1.8  # redshift up to which the labels of SDSS are systemic, too
_HIGH = "xq_spectra.npz", "z6_spectra.npz"
_HIGH_SNR = 20.0  # of all of them, roughly


def read(path):
    """The arrays of a file of spectra on one lattice, with zero inverse variance where pixels are bad."""
    with np.load(path) as file:
        data = {name: file[name] for name in file}
    if "and_mask" in data:
        bad = bad_pixels(data["flux"], data["ivar"], data["and_mask"])
        data["ivar"] = np.where(bad, 0, data["ivar"])
    data["loglam"] = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    return data


def add_sdss(writer, data, half, frame):
    """Write labelled spectra of SDSS."""
    _, inverse, count = np.unique(data["group"], return_inverse=True, return_counts=True)
    quasar = data["cls"] == "QSO"
    use = (split_half(data["group"]) == half) & (data["trust"] >= 1)
    if frame == "systemic":
        use &= ~(quasar & (data["z"] > _ONE_FRAME))
    for i in np.flatnonzero(use):
        flux, ivar = writer.grid.rebin(data["loglam"], data["flux"][i], data["ivar"][i])
        name = (int(data["plate"][i]), int(data["mjd"][i]), int(data["fiber"][i]))
        labels = float(data["z"][i]), quasar[i], float(data["sn"][i]), 1 / count[inverse[i]]
        writer.add(flux, ivar, (*name, *labels))


def add_high(writer, data, half):
    """Write quasars at high redshift."""
    for i in np.flatnonzero(split_half(data["name"]) == half):
        flux, ivar = writer.grid.rebin(data["loglam"], data["flux"][i], data["ivar"][i])
        writer.add(flux, ivar, (0, 0, int(i), float(data["z_systemic"][i]), True, _HIGH_SNR, 1.0))


def main():
    """Write the shards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_spectra.npz, xq_spectra.npz ...")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--half", default="calibration", choices=("calibration", "validation"))
    parser.add_argument("--frame", default="sdss", choices=("sdss", "systemic"), help="of the network")
    parser.add_argument("--high-redshift", action="store_true")
    parser.add_argument("--grid-of", default="rnet-e", metavar="RECIPE", help="recipe whose grid to use")
    args = parser.parse_args()
    writer = ShardWriter(args.output, read_recipe(args.grid_of).grid)
    if args.high_redshift:
        for name in _HIGH:
            add_high(writer, read(Path(args.data) / name), args.half)
    else:
        add_sdss(writer, read(Path(args.data) / "dev_spectra.npz"), args.half, args.frame)
    writer.flush()


if __name__ == "__main__":
    main()
