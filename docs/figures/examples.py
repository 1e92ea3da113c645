"""Accuracy against number of training examples, from ``benchmarks/ablations.py --variants base``; the last is rnet-e-3."""

import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

#: Examples; NMAD in km/s and, of the first, share off by more than 600 km/s, on simulated spectra and two real samples.
EXAMPLES = (3200, 6400, 12800, 25600, 1331200)
CURVES = {
    "simulated": ([361, 307, 308, 262, 215], [31.4, 26.4, 23.3, 22.1, 13.7]),
    "BOSS and eBOSS, real": ([235, 233, 222, 196, 109], [17.9, 12.1, 14.3, 12.9, 10.7]),
    "3.5 < z < 6.6, real": ([568, 667, 529, 480, 448], [32.3, 37.4, 26.3, 29.3, 17.2]),
}

TICKS = (100, 150, 200, 300, 400, 600), (10, 15, 20, 30, 40)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for number, (label, unit) in enumerate((("NMAD", "km/s"), ("off by more than 600 km/s", "%"))):
    for (name, values), colour in zip(CURVES.items(), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        axes[number].loglog(EXAMPLES, values[number], "o-", color=colour, lw=1.2, ms=4, label=name)
    axes[number].set_xlabel("training examples")
    axes[number].set_ylabel(f"{label} ({unit})")
    axes[number].yaxis.set_major_locator(FixedLocator(TICKS[number]))
    axes[number].yaxis.set_minor_locator(NullLocator())
    axes[number].yaxis.set_major_formatter(ScalarFormatter())
    axes[number].grid(alpha=0.3, lw=0.5)
axes[0].legend(fontsize=8.5, frameon=False)
