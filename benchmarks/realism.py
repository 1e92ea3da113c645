"""Can simulated spectra be told from real ones?

Simulates one quasar for each labelled real BOSS/eBOSS quasar, of the same redshift and S/N, and compares continuum slope,
equivalent widths, noise autocorrelation and S/N; then trains a small convolutional classifier to tell the two apart,
with cross-validation by object (0.5 is perfect realism).

    python benchmarks/realism.py --data DIRECTORY
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.preprocess import standardise
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.observe import observe_spectra
from specz_cnn.simulate.quasars import quasar_spectra

_WINDOWS = {"C IV": (1549.0, 60.0), "C III]": (1909.0, 60.0), "Mg II": (2799.0, 70.0)}


def real_quasars(path, grid):
    """Real BOSS quasars with confirmed redshifts, one spectrum per object: flux, ivar, z, snr, group."""
    with np.load(path) as file:
        data = {name: file[name] for name in file}
    loglam = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    wanted = (data["cls"] == "QSO") & (data["trust"] >= 2) & np.char.startswith(data["run2d"], "v5")
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


class _Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 16, 15, 2),
            nn.ReLU(),
            nn.Conv1d(16, 16, 9, 3),
            nn.ReLU(),
            nn.Conv1d(16, 16, 5, 2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 1))

    def forward(self, x):
        y = self.body(x)
        return self.head(torch.cat([y.mean(2), y.amax(2)], 1))[:, 0]


def classifier_accuracy(real, simulated, folds=5, epochs=60):
    """Cross-validated accuracy of a small network; real and simulated in equal numbers."""
    rng = np.random.default_rng(0)
    simulated = simulated[torch.from_numpy(rng.permutation(len(simulated))[: len(real)])]
    fold = rng.integers(0, folds, len(real))
    right, total = 0, 0
    for k in range(folds):
        torch.manual_seed(k)
        train, test = fold != k, fold == k
        x = torch.cat([real[train], simulated[train]])
        y = torch.cat([torch.ones(int(train.sum())), torch.zeros(int(train.sum()))])
        network = _Classifier()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                loss = nn.functional.binary_cross_entropy_with_logits(network(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()
        with torch.inference_mode():
            right += int((network(real[test]) > 0).sum() + (network(simulated[test]) <= 0).sum())
        total += 2 * int(test.sum())
    return right / total, total


def _quartiles(values):
    values = values[np.isfinite(values)]
    return " / ".join(f"{v:7.2f}" for v in np.percentile(values, [16, 50, 84])) + f"   ({len(values)})"


def main():
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    grid = ModelGrid()
    flux, ivar, z, snr = real_quasars(Path(args.data) / "dev_spectra.npz", grid)
    simulator = Simulator(args.data, grid=grid, config=SimulationConfig(damaged=0.0))
    many_flux, many_ivar = simulated_like(simulator, z.repeat(10), snr.repeat(10), seed=2)
    many_z = z.repeat(10)
    # Real spectra are those with nearly full coverage; so must be the simulated ones.
    many_flux, many_ivar, many_z = with_full_coverage(many_flux, many_ivar, many_z)
    print(
        f"{len(z)} real BOSS quasars (one spectrum per object); simulated: 10 of the same redshift and S/N for each"
    )
    print("quantity: 16 / 50 / 84 % real, then simulated")
    print("continuum slope      ", _quartiles(continuum_slope(grid, flux, ivar, z)))
    print("                     ", _quartiles(continuum_slope(grid, many_flux, many_ivar, many_z)))
    for name, (centre, half) in _WINDOWS.items():
        print(f"EW {name:17s} ", _quartiles(equivalent_width(grid, flux, ivar, z, centre, half)))
        print(
            "                     ",
            _quartiles(equivalent_width(grid, many_flux, many_ivar, many_z, centre, half)),
        )
    for name, f, w in (("real", flux, ivar), ("simulated", many_flux, many_ivar)):
        values = noise_autocorrelation(f, w)
        print(
            f"noise, {name:10s} std {values[0]:.3f}, autocorrelation",
            " ".join(f"{v:+.3f}" for v in values[1:]),
        )
    accuracy, n = classifier_accuracy(standardise(flux, ivar), standardise(many_flux, many_ivar))
    error = (accuracy * (1 - accuracy) / n) ** 0.5
    print(f"classifier accuracy real against simulated: {accuracy:.3f} +- {error:.3f} (0.5 is perfect)")


if __name__ == "__main__":
    main()
