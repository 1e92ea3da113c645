"""Pictures of the worst redshifts of real quasars, with the weights before and now.

    python benchmarks/worst.py --data DIRECTORY --before WEIGHTS [-n 5] [-o docs/_static/worst.png]

On the left the quasars of the validation half whose ``z`` is furthest from the label, one spectrum for each object; on the right
those of XQ-100, XQz5 and XQR-30 whose ``z_sys`` is furthest from Mg II or [C II].  WEIGHTS is an older file of rnet-e, for
example that of rnet-e-2, from the history of the repository::

    git show 4780e8c^:specz_cnn/models/weights/rnet-e-2-560f91ca.safetensors > rnet-e-2.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy import real_spectra
from high_redshift import spectra as on_lattice

from specz_cnn import SpectrumArrays, decode_flags, fit_redshift_cnn, fit_redshifts_cnn
from specz_cnn.evaluate import split_half
from specz_cnn.evaluate.figure_style import BLUE, GREEN, GREY, ORANGE, prepared_figure, styled
from specz_cnn.results.lines import LINES, line_table
from specz_cnn.results.plotting import save_figure, smooth_flux
from specz_cnn.velocity import SPEED_OF_LIGHT, velocity_difference

_NEAR = 4000.0  # km/s shown of p(z)
_SMOOTH = 5.0  # native pixels
#: The line whose profile is drawn behind p(z): the first of these that is clearly seen, those of low ionisation first.
_TELLING = "[OIII]", "MgII", "Ha", "CIII]", "CIV", "Lya"
_MORE_LINES = {"NV": 1240.81, "SiIV": 1399.4}


@dataclass
class Case:
    """One spectrum: its name, redshift, which of our redshifts is meant, and the results before and now."""

    name: str
    spectrum: SpectrumArrays
    z: float
    column: str
    before: object
    now: object

    def found(self, which):
        """Redshift and error of a result."""
        result = getattr(self, which)
        return getattr(result, self.column), getattr(result, f"{self.column}_err")

    def density(self, which):
        """p(z) per 100 km/s against velocity from the true redshift, in the frame of the redshift that is meant."""
        result = getattr(self, which)
        u, pdf = np.log1p(result.z_grid), np.asarray(result.pdf)
        moved = np.log1p(self.found(which)[0]) - np.log1p(result.z)
        return SPEED_OF_LIGHT * (u + moved - np.log1p(self.z)), pdf / (SPEED_OF_LIGHT * (u[1] - u[0])) * 100


def labelled(path):
    """Quasars of the validation half: spectra, names, redshifts, objects."""
    spectra = real_spectra(path)
    with np.load(path) as file:
        wanted = (file["cls"] == "QSO") & (file["trust"] >= 2) & (split_half(file["group"]) == "validation")
        rows = np.flatnonzero(wanted)
        z, group = file["z"][rows], file["group"][rows]
    spectra = [spectra[i] for i in rows]
    return spectra, [f"{s.plate}-{s.mjd}-{s.fiber:04d}" for s in spectra], z, group


def high_redshift(path):
    """The same for luminous quasars at 3.5 < z < 6.6."""
    spectra, data = on_lattice(path)
    return spectra, [name.replace("_", " ") for name in data["name"]], data["z_systemic"], data["name"]


def worst(sample, column, before, n):
    """The spectra whose redshift now is furthest from the truth, the worst of each object, as `Case`."""
    spectra, names, z, group = sample
    table = fit_redshifts_cnn(spectra)
    off = np.abs(velocity_difference(np.asarray(table[column]), z))
    order = np.argsort(-off)
    order = order[np.sort(np.unique(group[order], return_index=True)[1])][:n]
    # At high redshift z_sys is the network's answer, and its p(z) that of the network.
    how = {"measure": column == "z"}
    return [
        Case(
            names[i],
            spectra[i],
            float(z[i]),
            column,
            fit_redshift_cnn(spectra[i], model=before, **how),
            fit_redshift_cnn(spectra[i], **how),
        )
        for i in order
    ]


def describe(case):
    """A line of text."""
    parts = []
    for which in ("before", "now"):
        z, error = case.found(which)
        flags = " ".join(decode_flags(getattr(case, which).flags)) or "no flag"
        dv, sigma = velocity_difference(z, case.z), SPEED_OF_LIGHT * error / (1 + z)
        parts.append(f"{which} {z:.4f} ({dv:+.0f} ± {sigma:.0f} km/s, {flags})")
    return f"{case.name}: z = {case.z:.4f}, {parts[0]}, {parts[1]}"


def draw_flux(axes, case):
    """The spectrum, and where its lines lie by the truth, before and now."""
    s = case.spectrum
    wavelength, flux = 10**s.loglam, smooth_flux(s.flux, s.ivar, _SMOOTH)
    good = np.isfinite(flux) & (s.ivar > 0)
    axes.plot(wavelength[good], flux[good], color="0.25", lw=0.6)
    low, high = np.percentile(flux[good], (0.5, 99.7))
    axes.set(
        ylim=(min(low, 0), high * 1.2),
        xlim=(wavelength[good][0], wavelength[good][-1]),
        yticks=[],
    )
    lines = {line.name: line.rest_wavelength for line in LINES} | _MORE_LINES
    for z, colour, style in (
        (case.z, GREEN, "-"),
        (case.found("before")[0], BLUE, ":"),
        (case.found("now")[0], ORANGE, "--"),
    ):
        for name, rest in lines.items():
            place = rest * (1 + z)
            if axes.get_xlim()[0] < place < axes.get_xlim()[1]:
                axes.axvline(place, color=colour, ls=style, lw=1.1)
                if colour == GREEN:
                    top = 1.18 if name != "NV" else 1.08
                    axes.text(place, high * top, f" {name}", fontsize=7, color=GREEN, va="top")
    (before, _), (now, error) = case.found("before"), case.found("now")
    offsets = [f"{velocity_difference(z, case.z):+,.0f}" for z in (before, now)]
    sigma = SPEED_OF_LIGHT * error / (1 + now)
    flagged = ", flagged" if case.now.flags else ""
    title = f"{case.name}, z = {case.z:.4f}: {offsets[0]} → {offsets[1]} ± {sigma:.0f} km/s{flagged}"
    axes.set_title(title, fontsize=8)


def draw_line(axes, case):
    """The profile of the line that tells most, against velocity from the true redshift."""
    spectrum = case.spectrum
    seen = {}
    for z in (case.z, case.found("now")[0]):
        rows = line_table(spectrum.loglam, spectrum.flux, spectrum.ivar, z)
        seen |= {str(row["name"]): row["rest_wavelength"].value for row in rows if row["snr"] > 6}
    name = next((name for name in _TELLING if name in seen), None)
    if name is None:
        return
    velocity = SPEED_OF_LIGHT * (10**spectrum.loglam / seen[name] / (1 + case.z) - 1)
    near = (np.abs(velocity) < _NEAR) & (spectrum.ivar > 0)
    flux = smooth_flux(spectrum.flux, spectrum.ivar, 2.0 if name == "[OIII]" else _SMOOTH)[near]
    flux = (flux - flux.min()) / (flux.max() - flux.min()) * axes.get_ylim()[1] * 0.95
    axes.plot(velocity[near], flux, color=GREY, lw=0.9)
    axes.text(0.98, 0.97, name, transform=axes.transAxes, fontsize=7, color=GREY, ha="right", va="top")


def draw_density(axes, case):
    """p(z) before and now about the truth, or over the whole range where it is far away."""
    far = abs(velocity_difference(case.found("now")[0], case.z)) > _NEAR
    for which, colour in (("before", BLUE), ("now", ORANGE)):
        velocity, density = case.density(which)
        x = np.exp(velocity / SPEED_OF_LIGHT) * (1 + case.z) - 1 if far else velocity
        shown = np.ones(len(x), bool) if far else np.abs(velocity) < _NEAR
        if far:
            axes.plot(x[shown], density[shown], color=colour, lw=1, label=which)
        else:
            axes.fill_between(
                x[shown], density[shown], step="mid", color=colour, alpha=0.45, lw=0, label=which
            )
    axes.axvline(case.z if far else 0, color=GREEN, lw=1.1)
    axes.set(yticks=[], ylim=(0, axes.get_ylim()[1]))
    if not far:
        axes.set_xlim(-_NEAR, _NEAR)
        draw_line(axes, case)
    axes.set_xlabel("redshift" if far else "km/s from the label", fontsize=7, labelpad=1)
    axes.tick_params(labelsize=7)


@styled
def draw(columns):
    """The figure: a column of spectra with their p(z) for each sample."""
    figure = prepared_figure(None, 15, 2.1 * max(map(len, columns)))
    grid = figure.add_gridspec(max(map(len, columns)), 2 * len(columns), width_ratios=(2.2, 1) * len(columns))
    for number, cases in enumerate(columns):
        for row, case in enumerate(cases):
            axes = figure.add_subplot(grid[row, 2 * number])
            draw_flux(axes, case)
            axes.tick_params(labelsize=7)
            axes.grid(visible=False)
            axes = figure.add_subplot(grid[row, 2 * number + 1])
            draw_density(axes, case)
            axes.grid(visible=False)
            if row == 0:
                axes.legend(fontsize=7, loc="upper right" if number == 0 else "upper left")
    return figure


def main():
    """Fit, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz and xq_spectra.npz")
    parser.add_argument("--before", required=True, help="older weights")
    parser.add_argument("-n", type=int, default=5, help="of each sample (default: %(default)s)")
    parser.add_argument("-o", "--output", help="figure to write")
    args = parser.parse_args()
    data = Path(args.data)
    columns = [
        worst(labelled(data / "dev_spectra.npz"), "z", args.before, args.n),
        worst(high_redshift(data / "xq_spectra.npz"), "z_sys", args.before, args.n),
    ]
    for case in (case for cases in columns for case in cases):
        print(describe(case))
    if args.output:
        save_figure(draw(columns), args.output, dpi=75)


if __name__ == "__main__":
    main()
