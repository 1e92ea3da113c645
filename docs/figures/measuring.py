"""From p(z) of the network to p(z) of the measurement, and the eigenspectra that do it."""

import matplotlib.pyplot as plt
import numpy as np

from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.measure import packaged_measurement
from specz_cnn.redshift.prepare import prepare
from specz_cnn.simulate.parametric import example_spectrum

C = 299792.458


def smooth(rows):
    """For the eye: a running mean over 400 km/s."""
    return np.array([np.convolve(row, np.ones(3) / 3, mode="same") for row in rows])


measurement = packaged_measurement()
figure = plt.figure(figsize=(9, 6.4), layout="constrained")
grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))

top = figure.add_subplot(grid[0, :])
some = measurement.measuring
wavelength = 10 ** (1e-4 * (some.start + 2 * np.arange(some.values.shape[1])))
for number, (row, colour) in enumerate(
    zip(smooth(some.values.numpy()), ("#0072B2", "#D55E00", "#009E73", "#a3487c"), strict=True)
):
    shown = (wavelength > 950) & (wavelength < 7200)
    row = row / np.percentile(np.abs(row[shown]), 99.3) * 0.9
    top.plot(wavelength[shown], row[shown] + 2.1 * (3 - number), color=colour, lw=0.8)
for name, rest in {
    "Lyα": 1215.67,
    "C IV": 1549.06,
    "C III]": 1908.73,
    "Mg II": 2798.75,
    "Hβ": 4862.7,
}.items():
    top.axvline(rest, color="0.6", lw=0.7, ls=":", zorder=0)
    top.text(rest * 1.005, 8.1, name, fontsize=8.5, color="0.3", va="top")
top.set_xscale("log")
top.set_xticks(
    [1000, 1500, 2000, 3000, 4000, 5000, 7000], ["1000", "1500", "2000", "3000", "4000", "5000", "7000"]
)
top.set_xticks([], minor=True)
top.set_yticks([])
top.set_ylim(-1.6, 8.3)
top.set_xlabel("rest wavelength (Å)")
top.set_title("the four eigenspectra that measure", fontsize=10, loc="left")

for column, (z, snr) in enumerate(((0.4, 6.0), (2.4, 6.0))):
    axes = figure.add_subplot(grid[1, column])
    spectrum = example_spectrum(z, snr=snr, seed=round(10 * z))
    for measure, colour, label in ((False, "0.55", "network"), (True, "#D55E00", "network and fit")):
        fitter = Fitter(cross_check=None, measure=measure)
        batch = fitter.fit([prepare(spectrum, fitter.grids)])
        u = batch.step * (np.arange(batch.pdf.shape[1]) + 0.5)
        velocity = C * (u - np.log1p(z))
        near = np.abs(velocity) < 1600
        density = batch.pdf[0] / (C * batch.step) * 100
        axes.fill_between(velocity[near], density[near], step="mid", color=colour, alpha=0.35, lw=0)
        axes.step(velocity[near], density[near], where="mid", color=colour, lw=1.2, label=label)
    axes.axvline(0, color="k", lw=0.8, ls=":")
    axes.set_xlim(-1500, 1500)
    axes.set_ylim(0)
    axes.set_xlabel("velocity from the true redshift (km/s)")
    axes.set_ylabel("probability per 100 km/s")
    axes.set_title(f"z = {z}, S/N {snr:.0f} per pixel", fontsize=10, loc="left")
    axes.legend(fontsize=8.5, frameon=False)
