"""The templates that the packaged RNet-E has learned."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

from specz_cnn import load_model

LINES = {
    "Lyman limit": 911.8,
    "O VI": 1033.8,
    "Lyα": 1215.67,
    "Si IV": 1399.4,
    "C IV": 1549.06,
    "C III]": 1908.73,
    "Mg II": 2798.75,
    "[O II]": 3729.0,
    "Hβ, [O III]": 4960.0,
    "Hα": 6564.6,
}

network = load_model("rnet-e")
templates = network.templates.detach().numpy()
grid, n_bins = network.grid, network.n_bins
# Template pixel r is where feature pixel n falls at redshift bin k = n - r + n_bins, whose centre is k + 1/2 bins.
loglam = grid.loglam[0] + 1e-4 * grid.factor * (np.arange(templates.shape[2]) - n_bins - 0.5)
wavelength = 10**loglam
rows = templates.reshape(-1, templates.shape[2])
rows = rows / np.sqrt((rows**2).mean(1, keepdims=True))
strength = np.sqrt((templates**2).sum((0, 1)))

figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(9.4, 5.2), sharex=True, layout="constrained", height_ratios=(1, 1.7)
)
top.plot(wavelength, strength, lw=0.9, color="#0072B2")
top.set_ylabel("strength of all")
top.set_ylim(0)
order = np.argsort(np.abs(rows * wavelength).sum(1))
image = bottom.pcolormesh(
    wavelength, np.arange(len(rows)), rows[order], vmin=-4, vmax=4, cmap="RdBu_r", rasterized=True
)
bottom.set_ylabel("template and feature")
bottom.set_yticks([])
figure.colorbar(image, ax=bottom, pad=0.01, label="weight / its rms")
for name, rest in LINES.items():
    for axes in (top, bottom):
        axes.axvline(rest, color="k", lw=0.6, alpha=0.35)
    top.text(
        rest,
        1.03,
        name,
        transform=top.get_xaxis_transform(),
        ha="right" if rest < 1000 else "center",
        fontsize=8,
    )
bottom.set_xscale("log")
bottom.set_xlim(700, 10000)
bottom.xaxis.set_major_locator(FixedLocator([800, 1000, 1500, 2000, 3000, 4000, 5000, 7000, 10000]))
bottom.xaxis.set_minor_locator(NullLocator())
bottom.xaxis.set_major_formatter(ScalarFormatter())
bottom.xaxis.set_minor_formatter(NullFormatter())
bottom.set_xlabel("rest-frame wavelength (Å)")
