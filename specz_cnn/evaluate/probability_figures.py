"""Figures of how true stated probabilities and errors are."""

from __future__ import annotations

import numpy as np

from specz_cnn.evaluate.figure_style import (
    BLUE,
    GREY,
    LOOKS,
    ORANGE,
    error_bars,
    prepared_figure,
    styled,
)
from specz_cnn.evaluate.metrics import (
    NZ_WIDTH,
    binomial_interval,
)
from specz_cnn.evaluate.probability import COVERAGE_LEVELS, coverage

__all__ = ["plot_coverage", "plot_distribution", "plot_pit", "plot_reliability"]


@styled
def plot_reliability(evaluation, *, figure=None):
    """Stated confidence against the fraction that is right, and its complement on a logarithmic scale.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    table = evaluation.reliability
    stated, right, low, high = (
        np.asarray(table[name]) for name in ("confidence", "right", "right_lo", "right_hi")
    )
    n = np.asarray(table["n"])
    figure = prepared_figure(figure, 9.0, 5.4)
    (left_count, rest_count), (left, rest) = figure.subplots(2, 2, sharex="col", height_ratios=(1, 4))
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    left.errorbar(stated, right, error_bars(right, low, high), fmt="o", color=BLUE, capsize=2, markersize=5)
    left.set(
        xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="stated confidence", ylabel="fraction within 3000 km/s"
    )
    left_count.set_title(
        f"mean gap {table.meta['expected_error']:.4f}, Brier score {table.meta['brier']:.4f}"
    )
    left_count.set_ylabel(evaluation.meta["counted"])
    # The same points seen from the other end; where nothing was wrong, only the upper bound is known.
    floor = 1e-4
    doubt, wrong = np.maximum(1 - stated, floor), 1 - right
    some = wrong > 0
    bars = error_bars(wrong, 1 - high, 1 - low)[:, some]
    rest.plot([floor / 2, 1], [floor / 2, 1], color=GREY, linewidth=0.8)
    rest.errorbar(doubt[some], wrong[some], bars, fmt="o", color=BLUE, capsize=2, markersize=5)
    if (~some).any():
        rest.plot(doubt[~some], (1 - low)[~some], "v", color=ORANGE, label="none wrong: upper bound")
        rest.legend(loc="upper left")
    rest.set(xscale="log", yscale="log", xlim=(floor / 2, 1.3), ylim=(floor / 2, 1.3))
    rest.set(xlabel="1 - stated confidence", ylabel="fraction beyond 3000 km/s")
    for axis, x in ((left_count, stated), (rest_count, doubt)):
        axis.vlines(x, 0.3, n, color=GREY, linewidth=3)
        axis.set_yscale("log")
        axis.set_ylim(0.3, 3 * max(1.0, n.max()))
    return figure


@styled
def plot_coverage(evaluation, *, figure=None):
    """Fraction of true redshifts inside the credible intervals of every level.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    rows = evaluation.quasars
    flagged = np.asarray(rows["flags"]) != 0
    figure = prepared_figure(figure, 5.2, 5.2)
    axis = figure.subplots()
    levels = np.linspace(0, 1, 201)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="right errors")
    kinds = (("all", np.ones(len(rows), bool), LOOKS[0]), ("unflagged", ~flagged, LOOKS[1]))
    for name, chosen, (color, marker, style) in kinds:
        part = rows[chosen]
        fraction, low, high = coverage(
            part["credible_level"], levels=levels, weights=np.asarray(part["weight"])
        )
        if name == "all":
            axis.fill_between(levels, low, high, color=color, alpha=0.15, linewidth=0)
        axis.plot(levels, fraction, color=color, linestyle=style, linewidth=1.4)
        at = np.searchsorted(levels, COVERAGE_LEVELS)
        axis.plot(levels[at], fraction[at], marker, color=color, markersize=6, label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", xlabel="level of the credible interval")
    axis.set_ylabel("fraction of true redshifts inside")
    axis.set_title(f"intervals from {evaluation.meta['intervals']}", color=GREY)
    axis.legend(loc="upper left")
    return figure


@styled
def plot_pit(evaluation, *, figure=None):
    """Histogram of the probability below the true redshift, flat if p(z) is right.

    A hump in the middle means errors that are too large, a U too small ones, a slope a bias.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    pit, weights = (np.asarray(evaluation.quasars[name], dtype=float) for name in ("pit", "weight"))
    known = np.isfinite(pit)
    pit, weights = pit[known], weights[known]
    n_bins = 10 if len(pit) < 1000 else 20
    edges = np.linspace(0, 1, n_bins + 1)
    counts, _ = np.histogram(pit, edges, weights=weights)
    total = weights.sum()
    low, high = binomial_interval(total / n_bins, total)
    figure = prepared_figure(figure, 6.0, 4.0)
    axis = figure.subplots()
    axis.axhspan(low * n_bins, high * n_bins, color=GREY, alpha=0.2, linewidth=0, label="chance, 68 %")
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.stairs(counts / total * n_bins, edges, color=BLUE, linewidth=1.6)
    axis.stairs(counts / total * n_bins, edges, color=BLUE, alpha=0.15, fill=True)
    axis.set(xlim=(0, 1), xlabel="probability below the true redshift (PIT)", ylabel="density")
    axis.set_ylim(0, 1.25 * max(1.3, n_bins * counts.max() / total))
    axis.set_title(
        f"{total:.0f} {evaluation.meta['counted']}, from {evaluation.meta['intervals']}", color=GREY
    )
    axis.legend(loc="upper center")
    return figure


@styled
def plot_distribution(evaluation, *, figure=None):
    """True and measured N(z), and their difference in units of the counting noise.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    table = evaluation.distribution
    top = float(table["z_high"].max())
    edges = NZ_WIDTH * np.arange(0, round(top / NZ_WIDTH) + 1)
    index = np.rint(np.asarray(table["z_low"]) / NZ_WIDTH).astype(int)
    n_true, n, difference = (np.zeros(edges.size - 1) for _ in range(3))
    n_true[index], n[index], difference[index] = table["n_true"], table["n"], table["difference"]
    middle = 0.5 * (edges[1:] + edges[:-1])
    figure = prepared_figure(figure, 7.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    upper.stairs(n_true, edges, color=GREY, fill=True, alpha=0.35, label="true")
    occupied = (n_true > 0) | (n > 0)
    upper.errorbar(
        middle[occupied],
        n[occupied],
        np.sqrt(n[occupied]),
        fmt="o",
        color=BLUE,
        markersize=4,
        capsize=2,
        label="measured",
    )
    upper.set_ylabel(f"{evaluation.meta['counted']} per {NZ_WIDTH:g} in z")
    upper.set_ylim(bottom=0)
    upper.legend(loc="upper right")
    lower.axhspan(-1, 1, color=GREY, alpha=0.2, linewidth=0)
    lower.stairs(difference, edges, color=BLUE, baseline=0, fill=True, alpha=0.6)
    lower.axhline(0, color=GREY, linewidth=0.8)
    reach = max(2.0, 1.15 * np.abs(difference).max())
    lower.set(xlim=(0, top), ylim=(-reach, reach), xlabel="redshift", ylabel="difference /\ncounting noise")
    return figure
