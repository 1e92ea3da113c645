"""The same quasar at three redshifts: in log wavelength, only shifted."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from specz_cnn.results.plotting import smooth_flux
from specz_cnn.simulate.parametric import example_spectrum

LINES = {"Lyα": 1215.67, "C IV": 1549.06, "C III]": 1908.73, "Mg II": 2798.75}
COLOURS = ("#0072B2", "#D55E00", "#009E73")

figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
for row, (z, colour) in enumerate(zip((1.6, 2.2, 3.0), COLOURS, strict=True)):
    spectrum = example_spectrum(z, snr=25, seed=4)
    flux = smooth_flux(spectrum.flux, spectrum.ivar, 4)
    flux = flux / np.nanpercentile(flux, 99.5)
    base = 1.15 * (2 - row)
    axes.plot(10**spectrum.loglam, base + flux, color=colour, lw=0.9)
    axes.text(10250, base + 0.36, f"z = {z}", color=colour, ha="right", weight="bold")
for name, rest in LINES.items():
    places = [(rest * (1 + z), 1.15 * (2 - row)) for row, z in enumerate((1.6, 2.2, 3.0))]
    inside = [(x, y) for x, y in places if 3600 < x < 10300]
    axes.plot(*zip(*inside, strict=True), color="0.45", lw=0.8, ls=":", zorder=0, marker="|")
    axes.text(inside[0][0], inside[0][1] - 0.06, name, ha="center", va="top", fontsize=9, color="0.25")
axes.set_xscale("log")
axes.set_xlim(3550, 10400)
axes.xaxis.set_major_locator(FixedLocator([4000, 5000, 6000, 7000, 8000, 9000, 10000]))
axes.xaxis.set_major_formatter(ScalarFormatter())
axes.xaxis.set_minor_formatter(NullFormatter())
axes.set_xlabel("observed wavelength (Å), logarithmic")
axes.set_yticks([])
axes.set_ylabel("flux, shifted")
axes.set_ylim(-0.25, 3.6)
