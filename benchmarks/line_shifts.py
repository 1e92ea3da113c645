"""How far C IV lies from Mg II: simulated quasars, real ones, and the literature.

    python benchmarks/line_shifts.py --data DIRECTORY [-o docs/_static/line_shifts.png]

Real quasars at 1.6 < z < 2.3 that show both lines, one spectrum for each object, against simulated ones of the same redshifts
and S/N, in which the same program finds the maxima of the lines; then, without noise, simulated quasars of all redshifts
against XQ-100 and published means and medians.  Prints 5, 16, 50, 84 and 95 % of the velocity of C IV, negative to the blue, its
rank correlation with the equivalent width of C IV, and writes the figure.

References
----------
Richards G. T. et al. 2011, AJ 141, 167; Shen Y. et al. 2016, ApJ 831, 7; Schindler J.-T. et al. 2020, ApJ 905, 51;
Lai S. et al. 2023, MNRAS 526, 3230, for the blueshifts of XQ-100.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from accuracy import real_spectra
from realism import equivalent_width, simulated_like
from scipy.stats import spearmanr

from specz_cnn.evaluate.figure_style import BLUE, GREY, ORANGE, RED, prepared_figure, styled
from specz_cnn.io.grid import ModelGrid
from specz_cnn.results.lines import line_table
from specz_cnn.results.plotting import save_figure
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.observe import lattice_positions
from specz_cnn.simulate.quasars import quasar_spectra
from specz_cnn.training.recipe import outside_validation
from specz_cnn.velocity import SPEED_OF_LIGHT

_RANGE = 1.6, 2.3  # of redshift: both lines in view
_REPEAT = 20  # simulated quasars for each real one
_PERCENT = 5, 16, 50, 84, 95
_CLEAR = 5.0, 500.0  # S/N of both lines, error of their velocities in km/s
_STARTS = 0.0, -2500.0, -5000.0  # km/s: where C IV is looked for
_WIDTHS = 5, 15, 30, 60, 200  # Angstrom: ranges of the equivalent width of C IV
_ON_TOP = {"frameon": True, "framealpha": 0.75, "edgecolor": "none"}
#: Mean of 30,000 quasars of SDSS DR7 that are quiet in radio (Richards et al. 2011).
_RICHARDS = 1.85, -810.0
#: Median of 38 luminous quasars at 5.78 < z < 7.54, and of quasars of the same luminosity at low redshift (Schindler et al. 2020).
_SCHINDLER = (6.2, -1848.0), (2.0, -800.0)
#: Peaks against stars and narrow lines in SDSS-RM, v = a + b (log L1700 - 45), and intrinsic scatter; Mg II: mean (Shen et al. 2016).
_SHEN, _SHEN_MGII = (-242.0, -438.0, 415.0), (-57.0, 205.0)


@dataclass
class Shifts:
    """Velocities of C IV (km/s), equivalent widths of C IV (Angstrom) and redshifts: arrays of shape (n,)."""

    velocity: np.ndarray
    width: np.ndarray
    z: np.ndarray

    def by_width(self):
        """Middle, in the logarithm, and percentiles of the velocity in each range of equivalent width."""
        parts = [(low, high, (self.width > low) & (self.width < high)) for low, high in pairwise(_WIDTHS)]
        middles = [np.sqrt(low * high) for low, high, _ in parts]
        return middles, np.array([np.nanpercentile(self.velocity[part], _PERCENT) for *_, part in parts])

    def __str__(self):
        rank = spearmanr(self.velocity, self.width, nan_policy="omit")
        numbers = " ".join(f"{value:+6.0f}" for value in np.nanpercentile(self.velocity, _PERCENT))
        return f"{len(self.velocity):5d} {numbers}   {rank.statistic:+.2f} (p = {rank.pvalue:.1g})"


def velocities(loglam, flux, ivar, z):
    """Velocities of C IV and Mg II against the redshift, NaN where a line is not clear.

    The window of a line begins where the line is seen best and follows what is found in it, so that it holds lines that are
    shifted far.
    """

    def look(velocity, name):
        rows = line_table(loglam, flux, ivar, (1 + z) * (1 + velocity / SPEED_OF_LIGHT) - 1)
        return next(row for row in rows if row["name"] == name)

    found = []
    for name, starts in (("CIV", _STARTS), ("MgII", (0.0,))):
        row = max((look(start, name) for start in starts), key=lambda row: np.nan_to_num(row["snr"]))
        velocity = np.nan
        for _ in range(2):
            clear = row["snr"] > _CLEAR[0] and row["velocity_err"].value < _CLEAR[1]
            peak = row["peak"].value / row["rest_wavelength"].value / (1 + z)
            velocity = SPEED_OF_LIGHT * (peak - 1) if clear else np.nan
            if clear:
                row = look(velocity, name)
        found.append(velocity)
    return tuple(found)


def measured(grid, flux, ivar, z):
    """C IV against Mg II in spectra on a grid."""
    pairs = [
        velocities(grid.loglam, f.numpy(), w.numpy(), float(x)) for f, w, x in zip(flux, ivar, z, strict=True)
    ]
    velocity = np.array([civ - mgii for civ, mgii in pairs])
    seen = np.isfinite(velocity)
    return Shifts(velocity[seen], widths(grid, flux, ivar, z)[seen], z.numpy()[seen])


def widths(grid, flux, ivar, z):
    """Equivalent widths of C IV in Angstrom, NaN where it is not covered."""
    found = [
        equivalent_width(grid, flux[i : i + 1], ivar[i : i + 1], z[i : i + 1], 1549.0, 60.0)
        for i in range(len(z))
    ]
    return np.array([width[0] if len(width) else np.nan for width in found])


def real(data, grid):
    """Redshift and S/N of the labelled quasars that show both lines, the best spectrum of each, and their lines."""
    spectra = real_spectra(data / "dev_spectra.npz")
    with np.load(data / "dev_spectra.npz") as file:
        z, snr, group = file["z"], file["sn"], file["group"]
        wanted = (file["cls"] == "QSO") & (file["trust"] >= 2) & (z > _RANGE[0]) & (z < _RANGE[1])
    rows = np.flatnonzero(wanted)
    rows = rows[np.argsort(-snr[rows], kind="stable")]
    rows = rows[np.unique(group[rows], return_index=True)[1]]
    pairs = [grid.rebin(spectra[i].loglam, spectra[i].flux, spectra[i].ivar) for i in rows]
    flux, ivar = (torch.from_numpy(np.stack(values)) for values in zip(*pairs, strict=True))
    z, snr = (torch.from_numpy(values[rows]).float() for values in (z, snr))
    return z, snr, measured(grid, flux, ivar, z)


def clean(simulator, z, seed):
    """Velocities of C IV and Mg II against the redshift, and equivalent widths of C IV, of simulated quasars without noise and troughs."""
    generator = torch.Generator().manual_seed(seed)
    config = replace(simulator.config, bal=False, associated_absorption=False)
    grid = ModelGrid(start=34700, n_pixels=1620)
    loglam = lattice_positions(grid)
    flux, _, _ = quasar_spectra(z, simulator.library, loglam, generator, config)
    ivar = torch.full_like(flux, 1e4)
    rows = [
        velocities(grid.loglam, f.numpy(), w.numpy(), float(x)) for f, w, x in zip(flux, ivar, z, strict=True)
    ]
    return np.array(rows), widths(grid, flux, ivar, z)


@styled
def draw(found, made, ideal, places, trend, xq):
    """The figure: distribution, equivalent width, redshift."""
    figure = prepared_figure(None, 12, 4)
    left, middle, right = figure.subplots(1, 3)
    for shifts, colour, label in (
        (made, ORANGE, "simulated, as observed"),
        (found, BLUE, "real SDSS spectra"),
    ):
        order = np.sort(shifts.velocity)
        left.step(
            order, np.arange(1, len(order) + 1) / len(order), color=colour, label=f"{label} ({len(order)})"
        )
    at = np.linspace(-4000, 1500, 400)
    scatter = np.hypot(_SHEN[2], _SHEN_MGII[1])
    for luminosity, style in ((45.0, ":"), (46.0, "--")):
        mean = _SHEN[0] + _SHEN[1] * (luminosity - 45) - _SHEN_MGII[0]
        normal = torch.distributions.Normal(mean, scatter).cdf(torch.from_numpy(at))
        left.plot(at, normal, color=GREY, ls=style, lw=1, label=f"Shen+ 2016, log L(1700 Å) = {luminosity:g}")
    left.axvline(_RICHARDS[1], color=RED, lw=1, label="mean, Richards+ 2011")
    left.set(
        xlim=(-4000, 1500),
        ylim=(0, 1.35),
        xlabel="C IV against Mg II (km/s)",
        ylabel="share to the blue of it",
    )
    left.legend(fontsize=7, loc="upper left", **_ON_TOP)
    left.set_title(f"{_RANGE[0]} < z < {_RANGE[1]}")
    middle.plot(ideal.width, ideal.velocity, ".", color=ORANGE, ms=3, alpha=0.35)
    middle.plot(found.width, found.velocity, "o", color=BLUE, ms=4.5, mec="white", mew=0.5)
    widths_of, quantiles = ideal.by_width()
    for column, style in ((1, "--"), (2, "-"), (3, "--")):
        middle.plot(widths_of, quantiles[:, column], color="black", ls=style, lw=1)
    middle.set_xscale("log")
    middle.set(xlim=(4, 200), ylim=(-4000, 1500), xlabel="equivalent width of C IV (Å)")
    middle.set_title("large shifts go with weak lines")
    low, half, high = trend[:, 1], trend[:, 2], trend[:, 3]
    right.fill_between(places, low, high, color=ORANGE, alpha=0.25, lw=0, label="simulated, 16 to 84 %")
    right.plot(places, half, color=ORANGE, label="simulated, median")
    groups = (
        ("real SDSS, 16, 50, 84 %", found.velocity, np.median(found.z), "o"),
        ("XQ-100, 16, 50, 84 %", *xq, "s"),
    )
    for label, values, z, marker in groups:
        low, half, high = np.percentile(values, (16, 50, 84))
        right.errorbar(z, half, [[half - low], [high - half]], fmt=marker, color=BLUE, capsize=3, label=label)
    right.plot(*_RICHARDS, "D", color=RED, label="mean, Richards+ 2011")
    right.plot(*zip(*_SCHINDLER, strict=True), "^", color="black", label="medians, Schindler+ 2020")
    right.set(xlim=(1.5, 7.1), ylim=(-6500, 1500), xlabel="redshift")
    right.legend(fontsize=7, loc="lower left", **_ON_TOP)
    right.set_title("and with luminosity, here with z")
    return figure


def main():
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz, xq_spectra.npz, templates/ ...")
    parser.add_argument("-o", "--output", help="figure to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(args.data)
    simulator = Simulator(
        data,
        config=SimulationConfig(damaged=0.0),
        noise_keep=outside_validation(data / "dev_spectra.npz"),
    )
    z, snr, found = real(data, simulator.grid)
    many = z.repeat(_REPEAT)
    made = measured(simulator.grid, *simulated_like(simulator, many, snr.repeat(_REPEAT), seed=3), many)
    print(
        f"C IV against Mg II (km/s)    n  {'      '.join(f'{p} %' for p in _PERCENT)}   rank correlation with EW"
    )
    print(f"real, {_RANGE[0]} < z < {_RANGE[1]}     {found}\nsimulated like them   {made}")
    places = np.array([1.7, 2.2, 2.6, 3.0, 3.5, 4.0, 4.5, 5.0, 5.8, 6.4, 7.0])
    at = torch.empty(800).uniform_(*_RANGE, generator=torch.Generator().manual_seed(4))
    both, width = clean(simulator, at, 5)
    ideal = Shifts(both[:, 0] - both[:, 1], width, at.numpy())
    magnesium = np.nanmedian(both[:, 1])
    print(f"the same without noise {ideal}\nMg II there: {magnesium:+.0f} km/s from the redshift")
    for (low, high), row in zip(pairwise(_WIDTHS), ideal.by_width()[1], strict=True):
        print(f"  C IV of {low:2d} to {high:3d} Å          " + " ".join(f"{value:+6.0f}" for value in row))
    # Mg II of the simulation is known where it is in view; beyond, the frame is its mean.
    trend = []
    for number, place in enumerate(places):
        velocity = clean(simulator, torch.full((300,), place), 100 + number)[0][:, 0] - magnesium
        trend.append(np.nanpercentile(velocity, _PERCENT))
        print(f"simulated, z = {place:.1f}           " + " ".join(f"{value:+6.0f}" for value in trend[-1]))
    with np.load(data / "xq_spectra.npz") as file:
        known = np.isfinite(file["civ_blueshift"])
        xq = -file["civ_blueshift"][known], np.median(file["z_systemic"][known])
    print(
        f"XQ-100, z = {xq[1]:.1f}        {known.sum():3d} "
        + " ".join(f"{v:+6.0f}" for v in np.percentile(xq[0], _PERCENT))
    )
    if args.output:
        save_figure(draw(found, made, ideal, places, np.array(trend), xq), args.output, dpi=85)


if __name__ == "__main__":
    main()
