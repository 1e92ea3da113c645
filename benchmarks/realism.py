"""Can simulated spectra be told from real ones?

Simulates one quasar for each labelled real BOSS/eBOSS quasar, of the same redshift and S/N, and compares continuum slope,
equivalent widths, noise autocorrelation and S/N; then trains a small convolutional classifier to tell the two apart,
with cross-validation by object (0.5 is perfect realism), by redshift, and with ``--seen`` finds what it sees.

    python benchmarks/realism.py --data DIRECTORY [--half calibration] [--seeds 5] [--seen] [-o FIGURE]

What the simulation holds beyond the real sample on purpose is left out: damaged spectra, masked runs, and the shorter coverage
of the first spectrograph.  Whoever mends the simulation looks at the calibration half only.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from occlusion import PARTS, draw_map, told_apart, wavelength_map

from specz_cnn.evaluate.split import HALVES, split_half
from specz_cnn.io.grid import ModelGrid
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.observe import observe_spectra
from specz_cnn.simulate.quasars import quasar_spectra

_Z_EDGES = (0.0, 0.5, 1.0, 1.8, 2.5, 5.0)
_REST_EDGES = (900, 1050, 1200, 1500, 1800, 2300, 2900, 3600, 4400, 5200, 6200, 7500, 10500)
_WINDOWS = {"C IV": (1549.0, 60.0), "C III]": (1909.0, 60.0), "Mg II": (2799.0, 70.0)}


def real_quasars(path, grid, half=None):
    """Real BOSS quasars with confirmed redshifts, one spectrum per object: flux, ivar, z, snr."""
    with np.load(path) as file:
        data = {name: file[name] for name in file}
    loglam = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    wanted = (data["cls"] == "QSO") & (data["trust"] >= 2) & np.char.startswith(data["run2d"], "v5")
    if half is not None:
        wanted &= split_half(data["group"]) == half
    rows = np.flatnonzero(wanted)
    rows = rows[np.unique(data["group"][rows], return_index=True)[1]]
    pairs = [grid.rebin(loglam, data["flux"][i], data["ivar"][i]) for i in rows]
    flux, ivar = (torch.from_numpy(np.stack(x)) for x in zip(*pairs, strict=True))
    z, snr = (torch.from_numpy(data[name][rows]).float() for name in ("z", "sn"))
    return with_full_coverage(flux, ivar, z, snr)


def with_full_coverage(flux, ivar, *others):
    """Those spectra of which BOSS's whole range was recorded."""
    full = (ivar > 0).float().mean(1) > 0.74
    return tuple(values[full] for values in (flux, ivar, *others))


def boss_simulator(directory, grid):
    """A simulator that observes as BOSS did, each object's errors once."""
    path = Path(directory) / "dev_spectra.npz"
    with np.load(path) as file:
        group, boss = file["group"], np.char.startswith(file["run2d"], "v5")
    keep = np.zeros(len(group), bool)
    keep[np.unique(group, return_index=True)[1]] = True
    config = SimulationConfig(damaged=0.0, masked_runs=False)
    simulator = Simulator(directory, grid=grid, config=config, noise_keep=keep & boss)
    simulator.noise = with_full_coverage(simulator.noise, simulator.noise)[0]
    return simulator


def simulated_like(simulator, z, snr, seed):
    """Simulated quasars of given redshifts and S/N."""
    generator = torch.Generator().manual_seed(seed)
    config = simulator.config
    flux, _, _ = quasar_spectra(z, simulator.library, simulator.loglam, generator, config)
    return observe_spectra(
        flux, snr, simulator.noise, simulator.loglam, generator, config, simulator.grid.factor
    )


def continuum_slope(grid, flux, ivar, z):
    """d ln(flux) / d ln(wavelength) between windows free of strong lines redward of Lyman alpha."""
    rest = torch.from_numpy(grid.wavelength).float()[None] / (1 + z[:, None])
    good = ivar > 0
    for line in (1216, 1400, 1549, 1909, 2799, 4862, 6564):
        good &= (rest - line).abs() > 0.03 * line
    good &= rest > 1270
    x = torch.log(rest)
    slopes = []
    for f, w, xx, g in zip(flux, ivar, x, good, strict=True):
        if g.sum() < 100:
            slopes.append(np.nan)
            continue
        level = (f[g] * w[g]).sum() / w[g].sum()
        design = torch.stack([torch.ones_like(xx[g]), xx[g] - xx[g].mean()], 1)
        weight = w[g].sqrt()[:, None]
        fit = torch.linalg.lstsq(design * weight, (f[g] / level)[:, None] * weight).solution
        slopes.append(float(fit[1] / fit[0]))
    return np.array(slopes)


def equivalent_width(grid, flux, ivar, z, centre, half):
    """Equivalent width (rest-frame Angstrom) over a straight continuum, where the line is covered."""
    wavelength = torch.from_numpy(grid.wavelength).float()
    out = []
    for f, w, zz in zip(flux, ivar, z, strict=True):
        rest = wavelength / (1 + zz)
        line = ((rest - centre).abs() < half) & (w > 0)
        side = ((rest - centre).abs() >= half) & ((rest - centre).abs() < 1.6 * half) & (w > 0)
        if line.sum() < 30 or side.sum() < 15 or not (rest[line].min() < centre - 0.8 * half):
            continue
        level = (f[side] * w[side]).sum() / w[side].sum()
        snr = level * w[side].mean().sqrt()
        if level > 0 and snr > 5:
            out.append(float(((f[line] / level - 1) * torch.gradient(rest[line])[0]).sum()))
    return np.array(out)


def lyman_alpha_peak(grid, flux, ivar, z):
    """Flux at rest 1212 to 1220 Angstrom over that at 1340 to 1370, where both are in view."""
    rest = torch.from_numpy(grid.wavelength).float() / (1 + z[:, None])
    means = []
    for low, high in ((1212.0, 1220.0), (1340.0, 1370.0)):
        weight = ivar * ((rest > low) & (rest < high))
        means.append((flux * weight).sum(1) / weight.sum(1))
    return (means[0] / means[1])[z > 2.05].numpy()


def noise_autocorrelation(flux, ivar, lags=(1, 2, 3)):
    """Standard deviation and autocorrelation of flux minus a running median of 15 pixels, in units of the error."""
    padded = torch.nn.functional.pad(flux[:, None], (7, 7), mode="replicate")[:, 0]
    residual = (flux - padded.unfold(1, 15, 1).median(2).values) * ivar.sqrt()
    residual = residual.clamp(-5, 5)
    used = (ivar > 0).float()
    variance = (residual**2 * used).sum() / used.sum()
    return [float(variance.sqrt())] + [
        float(
            (residual[:, lag:] * residual[:, :-lag] * used[:, lag:] * used[:, :-lag]).sum()
            / (used[:, lag:] * used[:, :-lag]).sum()
            / variance
        )
        for lag in lags
    ]


def _quartiles(values):
    values = values[np.isfinite(values)]
    return " / ".join(f"{v:7.2f}" for v in np.percentile(values, [16, 50, 84])) + f"   ({len(values)})"


def compare(grid, real, simulated):
    """Print statistics of (flux, ivar, z) of both."""
    print("quantity: 16 / 50 / 84 % real, then simulated")
    print("continuum slope      ", _quartiles(continuum_slope(grid, *real)))
    print("                     ", _quartiles(continuum_slope(grid, *simulated)))
    for name, (centre, half) in _WINDOWS.items():
        print(f"EW {name:17s} ", _quartiles(equivalent_width(grid, *real, centre, half)))
        print("                     ", _quartiles(equivalent_width(grid, *simulated, centre, half)))
    print("Lyman alpha peak     ", _quartiles(lyman_alpha_peak(grid, *real)))
    print("                     ", _quartiles(lyman_alpha_peak(grid, *simulated)))
    for low, high in pairwise(_Z_EDGES):
        for name, (flux, ivar, z) in (("real", real), ("simulated", simulated)):
            chosen = (z >= low) & (z < high)
            values = noise_autocorrelation(flux[chosen], ivar[chosen])
            print(
                f"z {low:g} to {high:g}, {name:10s} scatter about 15 pixels {values[0]:.3f} errors, autocorrelation",
                " ".join(f"{v:+.3f}" for v in values[1:]),
            )


def report_told(name, told, z):
    """Print the accuracy, its scatter among seeds, and by redshift."""
    values = [one.accuracy() for one in told]
    bins = [(z >= low) & (z < high) for low, high in pairwise(_Z_EDGES)]
    by_z = " ".join(f"{np.mean([one.accuracy(b) for one in told]):.2f}" if b.any() else "  - " for b in bins)
    print(f"{name:28s} {np.mean(values):.3f} +- {np.std(values):.3f}   by redshift: {by_z}")
    return values


def main():
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--half", choices=HALVES, help="of the labelled objects; by default both")
    parser.add_argument("--seeds", type=int, default=5, help="simulations, folds and networks")
    parser.add_argument("--seen", action="store_true", help="which scales and wavelengths carry the decision")
    parser.add_argument("-o", "--output", help="file for the figure of what is seen")
    args = parser.parse_args()
    grid = ModelGrid()
    flux, ivar, z, snr = real_quasars(Path(args.data) / "dev_spectra.npz", grid, args.half)
    simulator = boss_simulator(args.data, grid)
    draws = [simulated_like(simulator, z, snr, seed=2 + seed) for seed in range(args.seeds)]
    print(f"{len(z)} real BOSS quasars, one spectrum per object; {args.seeds} simulations of each")
    simulated = [torch.cat(parts) for parts in zip(*draws, strict=True)]
    compare(grid, (flux, ivar, z), (*simulated, z.repeat(args.seeds)))
    edges = " ".join(f"{edge:g}" for edge in _Z_EDGES)
    print(f"accuracy of a classifier, and its scatter among seeds (0.5 is perfect); redshifts {edges}")
    accuracies, seen, whole = {}, args.seen or args.output, []
    for name, part in PARTS.items():
        everything = name == "everything"
        if everything or seen:
            real = part(flux, ivar)
            told = [
                told_apart(real, part(*draw), seed, hide=everything and bool(seen))
                for seed, draw in enumerate(draws)
            ]
            accuracies[name] = report_told(name, told, z.numpy())
            whole = whole or told  # everything comes first
    if not seen:
        return
    centre, observed, rest = wavelength_map(whole, grid.wavelength, z.numpy(), _REST_EDGES)
    print("logit for the right answer lost when a window of 40 pixels is hidden, by its centre (Angstrom)")
    for first in range(0, len(centre), 8):
        part = slice(first, first + 8)
        print("  ", " ".join(f"{c:.0f}:{v:+.2f}" for c, v in zip(centre[part], observed[part], strict=True)))
    print("the same by rest wavelength")
    print(
        "  ",
        " ".join(
            f"{low}-{high}:{v:+.2f}" for (low, high), v in zip(pairwise(_REST_EDGES), rest, strict=True)
        ),
    )
    if args.output:
        title = f"Real or simulated? {len(z)} quasars, {args.seeds} seeds"
        draw_map(args.output, title, accuracies, centre, observed, _REST_EDGES, rest)


if __name__ == "__main__":
    main()
