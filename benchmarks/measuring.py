"""How well are redshifts measured?  Network, fit of eigenspectra, and both, on labelled real spectra.

    python benchmarks/measuring.py --data DIRECTORY [--model rnet-e] [--eigenspectra FILE ...] [-o measurement.json]

Every variant has its errors calibrated on the calibration half of the objects, with as much weight of simulated quasars at
1 < z < 3.5, and is judged on the validation half where it
is compared with labels: BOSS and eBOSS quasars against the pipeline's redshift (the label where the pipeline is wrong), and
all surveys.  [O III] 5008 at z < 1 and Mg II at 1 < z < 2.3 are found in the spectra themselves, of both halves, for no
label takes part; repeated observations are those of one object.  Each object counts once.

With -o the calibration of the packaged eigenspectra is written to a file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from accuracy import real_spectra
from narrow_lines import mgii_redshift, narrow_line_redshift

from specz_cnn.evaluate import split_half
from specz_cnn.models.eigenspectra import SAMPLE, Eigenspectra, read_eigenspectra
from specz_cnn.models.output import network_output
from specz_cnn.models.registry import load_model
from specz_cnn.redshift.measure import GRID, packaged_measurement
from specz_cnn.redshift.posterior import posterior
from specz_cnn.redshift.precision import calibrate_measurement
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.convention import HIGHEST
from specz_cnn.training.recipe import outside_validation
from specz_cnn.velocity import RIGHT, SPEED_OF_LIGHT, nmad, velocity_difference, weighted_quantile

_PARTS = "measuring", "describing"
_SEED = 20_261_125


class Sample:
    """The labelled quasars, on the grid."""

    def __init__(self, data, network):
        spectra = real_spectra(data / "dev_spectra.npz")
        with np.load(data / "dev_spectra.npz") as file:
            wanted = (file["cls"] == "QSO") & (file["trust"] >= 2) & (file["z"] < 5.45)
            rows = np.flatnonzero(wanted)
            label, pipeline, group, run2d, snr = (
                file[name][rows] for name in ("z", "z_pipe", "group", "run2d", "sn")
            )
        self.spectra = [spectra[i] for i in rows]
        pairs = [GRID.rebin(s.loglam, s.flux, s.ivar) for s in self.spectra]
        self.flux, self.ivar = (np.stack(values) for values in zip(*pairs, strict=True))
        _, inverse, count = np.unique(group, return_inverse=True, return_counts=True)
        self.weight, self.group, self.snr, self.label = 1 / count[inverse], group, snr, label
        self.calibration = split_half(group) == "calibration"
        agree = np.abs(np.log1p(pipeline) - np.log1p(label)) < RIGHT
        self.pipeline, self.z = pipeline, np.where(agree, pipeline, label)
        self.boss = np.char.startswith(run2d, "v5")
        self.oiii = np.array(
            [
                narrow_line_redshift(s, z) if z < 1 else np.nan
                for s, z in zip(self.spectra, self.z, strict=True)
            ]
        )
        self.mgii = np.array(
            [
                mgii_redshift(s, z) if 1 < z < 2.3 else np.nan
                for s, z in zip(self.spectra, self.z, strict=True)
            ]
        )
        self.frame = network.info.frame
        info = network.info
        self.own = posterior(
            network_output(network, self.flux, self.ivar),
            bins=info.bins,
            calibration=info.calibration,
            z_range=info.z_range,
        )

    def simulate(self, simulator, network, n=1500):
        """Add simulated quasars at z > 1, where real ones are few, with the same weight as those, for calibrations."""
        batch = simulator.draw(n, _SEED)
        # Beyond HIGHEST simulated labels are systemic, for no fit says where the pipeline's frame lies.
        high = ((batch.z > 1) & (batch.z < HIGHEST)).numpy()
        self.made = batch.flux.numpy()[high], batch.ivar.numpy()[high], batch.z.numpy()[high].astype(float)
        info = network.info
        self.made_own = posterior(
            network_output(network, *self.made[:2]),
            bins=info.bins,
            calibration=info.calibration,
            z_range=info.z_range,
        )

    def some(self, rows):
        """The network's posterior of some of them."""
        names = [f.name for f in fields(self.own) if isinstance(getattr(self.own, f.name), np.ndarray)]
        return replace(self.own, **{name: getattr(self.own, name)[rows] for name in names})

    def calibrated(self, measurement):
        """A measurement with errors calibrated on the calibration half, and on simulated quasars."""
        use = self.calibration
        weight = self.weight[use]
        share = weight[self.z[use] > 1].sum() / len(self.made[2])
        real = self.flux[use], self.ivar[use], self.z[use], weight
        pairs = zip(real, (*self.made, np.full(len(self.made[2]), share)), strict=True)
        own, made = self.some(use), self.made_own
        names = [f.name for f in fields(own) if isinstance(getattr(own, f.name), np.ndarray)]
        own = replace(
            own, **{name: np.concatenate([getattr(own, name), getattr(made, name)]) for name in names}
        )
        return calibrate_measurement(
            measurement, own, *(np.concatenate(values) for values in pairs), frame=self.frame
        )


def differences(z, truth, weight, where):
    """Share within 600 and 300 km/s, number beyond 3000, median and NMAD of the rest: a line of text."""
    where = where & np.isfinite(truth) & np.isfinite(z)
    dv, weight = velocity_difference(z[where], truth[where]), weight[where]
    near = np.abs(dv) < 3000
    within = [np.average(np.abs(dv) < limit, weights=weight) for limit in (600, 300)]
    return (
        f"{where.sum():4d} {within[0]:.3f} {within[1]:.3f} {(~near).sum():3d} "
        f"{weighted_quantile(dv[near], 0.5, weight[near]):+5.0f} {nmad(dv[near], weight[near]):4.0f}"
    )


def repeats(z, sample):
    """Scatter of one observation, from all pairs of observations of one object (km/s), each object with the same weight."""
    values, weights = [], []
    for group in np.unique(sample.group):
        u = np.log1p(z[(sample.group == group) & np.isfinite(z)])
        if len(u) > 1:
            first, second = np.triu_indices(len(u), 1)
            values.append(SPEED_OF_LIGHT * (u[first] - u[second]) / np.sqrt(2))
            weights.append(np.full(len(first), 1 / len(first)))
    values, weights = np.concatenate(values), np.concatenate(weights)
    return 1.4826 * weighted_quantile(np.abs(values), 0.5, weights), len(values)


def show(name, z, sample):
    """Print one variant."""
    judged = ~sample.calibration
    cells = [
        differences(z, sample.z, sample.weight, judged & sample.boss),
        differences(z, sample.z, sample.weight, judged),
        differences(z, sample.oiii, sample.weight, judged | sample.calibration),
        differences(z, sample.mgii, sample.weight, judged | sample.calibration),
    ]
    most = np.unique(sample.group, return_counts=True)
    one = SPEED_OF_LIGHT * np.log1p(z[sample.group == most[0][most[1].argmax()]])
    print(f"{name:28s} | " + " | ".join(cells) + f" | {nmad(one):4.0f} {repeats(z, sample)[0]:4.0f}")


def show_errors(found, sample):
    """Pulls and coverage of a measurement."""
    own = found.own
    print(f"\n{'errors, validation half':34s}    n  pull  68 %  median z_err (km/s)")
    judged = ~sample.calibration & (np.abs(velocity_difference(own.z, sample.z)) < 3000)
    parts = {"all surveys": judged, "BOSS and eBOSS": judged & sample.boss}
    for low, high in ((0, 0.5), (0.5, 1), (1, 1.8), (1.8, 5.5)):
        parts[f"{low} < z < {high}"] = judged & (sample.z >= low) & (sample.z < high)
    for low, high in ((0, 3), (3, 8), (8, 100)):
        parts[f"{low} < S/N < {high}"] = judged & (sample.snr >= low) & (sample.snr < high)
    for name, use in parts.items():
        z, weight = sample.z[use], sample.weight[use]
        pull = (own.z[use] - z) / own.z_err[use]
        inside = (own.z_lo[use] <= z) & (z <= own.z_hi[use])
        error = SPEED_OF_LIGHT * own.z_err[use] / (1 + z)
        print(
            f"{name:34s} {use.sum():4d}  {nmad(pull, weight):4.2f}  {np.average(inside, weights=weight):4.2f}  "
            f"{weighted_quantile(error, 0.5, weight):4.0f}"
        )


def sdss_eigenspectra(simulator):
    """The four of SDSS's pipeline, on our samples."""
    bank, packaged = simulator.library.quasars, packaged_measurement().measuring
    n_samples = packaged.values.shape[1]
    position = (packaged.start + SAMPLE * torch.arange(n_samples))[None].float()
    rows = [bank.observe(torch.tensor([k]), position)[0] for k in range(len(bank.values))]
    return Eigenspectra(torch.stack(rows), packaged.start, torch.full((len(rows),), 1e-6))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz, dev_labels.csv, templates/")
    parser.add_argument("--model", default="rnet-e")
    parser.add_argument("--eigenspectra", nargs="*", default=[], help="further files to compare")
    parser.add_argument("-o", "--output", help="write the calibration of the packaged ones here")
    parser.add_argument("--tag", help="its tag")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load_model(args.model)
    sample = Sample(Path(args.data), network)
    config = SimulationConfig(class_weights=(1.0, 0.0, 0.0, 0.0), without_forest=0.0, damaged=0.0)
    keep = outside_validation(Path(args.data) / "dev_spectra.npz")
    simulator = Simulator(args.data, config=config, noise_keep=keep)
    sample.simulate(simulator, network)
    packaged = packaged_measurement()
    print(
        "median (km/s) and NMAD of those within 3000 km/s\n"
        f"{'':28s} | {'BOSS, validation':^30s} | {'all, validation':^30s} | {'[O III], z < 1':^30s} | "
        f"{'Mg II, 1 < z < 2.3':^30s} | repeats\n{'':28s}"
        + " |    n w600  w300  bad   med nmad" * 4
        + " | one  all"
    )
    show("pipeline", np.where(np.isfinite(sample.pipeline), sample.pipeline, np.nan), sample)
    show(f"network ({args.model})", sample.own.z, sample)
    best = sample.calibrated(packaged)
    found = best(sample.own, sample.flux, sample.ivar, frame=sample.frame)
    show("network and fit", found.own.z, sample)
    show("z_sys", found.systemic["z_sys"], sample)

    def variant(name, measurement):
        show(name, measurement(sample.own, sample.flux, sample.ivar, frame=sample.frame).own.z, sample)

    variant("fit alone", replace(best, model=best.model | {"alpha": 0.0}))
    variant("no floor, no wing", replace(best, model=best.model | {"floor": 0.0, "share": 0.0}))
    variant(
        "SDSS's four eigenspectra",
        sample.calibrated(replace(packaged, measuring=sdss_eigenspectra(simulator))),
    )
    variant("eight that describe", sample.calibrated(replace(packaged, measuring=packaged.describing)))
    for path in args.eigenspectra:
        for name, some in zip(_PARTS, read_eigenspectra(path), strict=True):
            variant(
                f"{Path(path).stem}, {len(some)} {name}", sample.calibrated(replace(packaged, measuring=some))
            )
    catalogue = best(sample.own, sample.flux, sample.ivar, frame=sample.frame, convention="catalogue").own.z
    judged = ~sample.calibration & sample.boss & (sample.label > 1.8)
    print(
        f"\nz > 1.8, against labels       | {'pipeline':12s} {differences(found.own.z, sample.label, sample.weight, judged)}"
    )
    print(
        f"                              | {'catalogue':12s} {differences(catalogue, sample.label, sample.weight, judged)}"
    )
    show_errors(found, sample)
    share = np.average(found.by_fit, weights=sample.weight)
    print(
        f"\nmeasured by the fit: {share:.3f}; too many outliers: {np.average(found.outliers, weights=sample.weight):.3f}"
    )
    if args.output:
        names = ("tag", "model", "limits", "frames", "factor", "report")
        values = {name: getattr(best, name) for name in names}
        values["tag"] = args.tag or values["tag"]
        values["report"] |= {"model": load_model(args.model).info.tag, "command": "benchmarks/measuring.py"}
        Path(args.output).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
