"""What storing large matrices in 8 bits does to redshifts: weights as they are against the same stored anew.

    python benchmarks/compact.py --data DIRECTORY --models FILE [FILE ...]

Models are weights files, or names or tags of packaged ones.  Those whose file has 8-bit matrices already do not change.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from accuracy import real_spectra

from specz_cnn.models.registry import load_model, resolve_model, save_model
from specz_cnn.redshift.fit import fit_redshifts_cnn
from specz_cnn.velocity import velocity_difference


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_spectra.npz")
    parser.add_argument("--models", nargs="+", default=["rnet-pz", "rnet"])
    args = parser.parse_args()
    spectra = real_spectra(Path(args.data) / "dev_spectra.npz")
    with np.load(Path(args.data) / "dev_spectra.npz") as file:
        rows, z = np.flatnonzero(file["cls"] == "QSO"), file["z"]
    quasars = [spectra[i] for i in rows]
    print(f"{len(rows)} quasars; changes and errors in km/s, quantiles 50, 95, 99 %")
    for model in args.models:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "compact.safetensors"
            network = load_model(model)
            save_model(path, network, network.info)
            sizes = [file.stat().st_size / 1e6 for file in (resolve_model(model)[0], path)]
            before, after = (
                np.asarray(fit_redshifts_cnn(quasars, model=m, cross_check=None)["z"]) for m in (model, path)
            )
        change = np.abs(velocity_difference(after, before))
        error = np.abs(velocity_difference(before, z[rows]))
        print(
            f"{model}: {sizes[0]:.1f} to {sizes[1]:.1f} MB; changes "
            + " ".join(f"{value:.1f}" for value in np.nanquantile(change, [0.5, 0.95, 0.99]))
            + f"; median error {np.nanmedian(error):.0f}"
        )


if __name__ == "__main__":
    main()
