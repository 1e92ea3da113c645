"""Whose redshift is it?  Real BOSS and eBOSS quasars: labels, the pipeline, fits of eigenspectra, and the networks.

    python benchmarks/conventions.py --data DIRECTORY [--models rnet-e ...]

For pairs of redshifts, in bins of redshift: NMAD and median of the velocity difference (km/s), and the share within 600 km/s.
The fits are those that label simulated quasars, with all wavelengths and without the Lyman-alpha forest.  One
spectrum for each object, of both halves, with half of the wavelength range or more.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from accuracy import real_spectra

import specz_cnn
from specz_cnn.evaluate import redshift_metrics
from specz_cnn.simulate import Simulator
from specz_cnn.simulate.convention import eigenspectra_redshift

_BINS = ((0, 1), (1, 1.8), (1.8, 2.8), (2.8, 5), (1.8, 5), (0, 5))


def describe(one, other):
    """NMAD, median and share within 600 km/s of the difference of two redshifts, without those beyond 3000 km/s."""
    metrics = redshift_metrics(one, other)
    return f"{metrics['nmad']:4.0f} ({metrics['bias']:+5.0f}) {metrics['within_600']:5.2f}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz, dev_labels.csv, templates/")
    parser.add_argument("--models", nargs="+", default=["rnet-e"])
    args = parser.parse_args()
    data = Path(args.data)
    spectra = real_spectra(data / "dev_spectra.npz")
    with np.load(data / "dev_spectra.npz") as file:
        label, group = file["z"], file["group"]
        wanted = (file["cls"] == "QSO") & (file["trust"] >= 2) & np.char.startswith(file["run2d"], "v5")
    with open(data / "dev_labels.csv") as file:
        pipeline = np.array([float(row["z_pipe"] or "nan") for row in csv.DictReader(file)])
    rows = np.flatnonzero(wanted & np.isfinite(pipeline))
    rows = rows[np.unique(group[rows], return_index=True)[1]]
    simulator = Simulator(data)
    pairs = [simulator.grid.rebin(spectra[i].loglam, spectra[i].flux, spectra[i].ivar) for i in rows]
    full = np.array([(ivar > 0).mean() > 0.5 for _, ivar in pairs])
    rows, pairs = rows[full], [pair for pair, keep in zip(pairs, full, strict=True) if keep]
    flux, ivar = (torch.from_numpy(np.stack(values)) for values in zip(*pairs, strict=True))
    z = {"label": label[rows], "pipeline": pipeline[rows]}
    for name, red in (("fit", False), ("fit without forest", True)):
        z[name] = eigenspectra_redshift(
            flux,
            ivar,
            torch.from_numpy(z["pipeline"]),
            simulator.library.quasars,
            simulator.loglam,
            without_forest=torch.full((len(rows),), red),
        ).numpy()
    for model in args.models:
        z[model] = np.asarray(specz_cnn.fit_redshifts_cnn([spectra[i] for i in rows], model=model)["z"])
    inside = [(z["label"] >= low) & (z["label"] < high) for low, high in _BINS]
    print(f"{'':34s}" + "".join(f"{f'{low:g} < z < {high:g}':>22s}" for low, high in _BINS))
    print(f"{'objects':34s}" + "".join(f"{use.sum():22d}" for use in inside))
    for reference in ("pipeline", "label"):
        for name in z:
            if name not in ("pipeline", reference):
                shown = "".join(f"{describe(z[name][use], z[reference][use]):>22s}" for use in inside)
                print(f"{name + ' - ' + reference:34s}{shown}")


if __name__ == "__main__":
    main()
