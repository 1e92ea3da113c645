"""Whose redshift is it?  Real BOSS and eBOSS quasars: labels, the pipeline, fits of eigenspectra, and the networks.

    python benchmarks/conventions.py --data DIRECTORY [--models rnet-e ...]

For pairs of redshifts, in bins of redshift: NMAD and median of the velocity difference (km/s), and the share within 600 km/s.
The fits are those that label simulated quasars, with all wavelengths and without the Lyman-alpha forest.  One
spectrum for each object, of both halves, with half of the wavelength range or more.

Then the errors of the default at 1.8 < z < 3.5, for each half and either kind of label, with and without what they hold of the
doubt about the convention (``frames["doubt"]`` of the measurement): all surveys, every spectrum.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accuracy import real_spectra

import specz_cnn
from specz_cnn.evaluate import redshift_metrics, split_half
from specz_cnn.models.output import network_output
from specz_cnn.models.registry import load_model
from specz_cnn.redshift.measure import GRID, packaged_measurement
from specz_cnn.redshift.posterior import posterior
from specz_cnn.simulate import Simulator
from specz_cnn.simulate.convention import eigenspectra_redshift
from specz_cnn.velocity import SPEED_OF_LIGHT, is_right, nmad

_BINS = ((0, 1), (1, 1.8), (1.8, 2.8), (2.8, 5), (1.8, 5), (0, 5))


def describe(one, other):
    """NMAD, median and share within 600 km/s of the difference of two redshifts, without those beyond 3000 km/s."""
    metrics = redshift_metrics(one, other)
    return f"{metrics['nmad']:4.0f} ({metrics['bias']:+5.0f}) {metrics['within_600']:5.2f}"


def errors(path):
    """Print pulls and coverage of the default, with and without the doubt about the convention."""
    spectra = real_spectra(path / "dev_spectra.npz")
    with np.load(path / "dev_spectra.npz") as file:
        quasar = (file["cls"] == "QSO") & (file["trust"] >= 1)
        references = {"label": file["z"], "pipeline": file["z_pipe"]}
        calibration = split_half(file["group"]) == "calibration"
    pairs = [GRID.rebin(s.loglam, s.flux, s.ivar) for s in spectra]
    flux, ivar = (np.stack(values) for values in zip(*pairs, strict=True))
    use = quasar & ((ivar > 0).mean(1) > 0.5) & (references["label"] > 1.8) & (references["label"] < 3.5)
    flux, ivar, calibration = flux[use], ivar[use], calibration[use]
    network, measurement = load_model("rnet-e"), packaged_measurement()
    info = network.info
    own = posterior(
        network_output(network, flux, ivar),
        bins=info.bins,
        calibration=info.calibration,
        z_range=info.z_range,
    )
    sure = replace(measurement, frames=measurement.frames | {"doubt": 0.0})
    print(f"\n{'errors at 1.8 < z < 3.5':34s}    n  pull  68 %  median z_err (km/s)")
    for title, one in (("with the doubt", measurement), ("without", sure)):
        found = one(own, flux, ivar, frame=info.frame, with_pdf=False).own
        for name, reference in references.items():
            for half, chosen in (("calibration", calibration), ("validation", ~calibration)):
                z = reference[use]
                some = chosen & is_right(found.z, z)
                pull = nmad(((found.z - z) / found.z_err)[some])
                inside = ((found.z_lo <= z) & (z <= found.z_hi))[some].mean()
                error = np.median((SPEED_OF_LIGHT * found.z_err / (1 + z))[some])
                label = f"{title}, {name}, {half}"
                print(f"{label:34s} {some.sum():4d}  {pull:4.2f}  {inside:4.2f}  {error:4.0f}")


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
    errors(data)


if __name__ == "__main__":
    main()
