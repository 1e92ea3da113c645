"""The figures of a comparison of systems, in the style of those of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specz_cnn.evaluate.figure_style import GREY, LOOKS, log_redshift, prepared_figure, styled
from specz_cnn.evaluate.figures import _MANY, _save, _velocity_edges
from specz_cnn.evaluate.references import ESTIMATORS
from specz_cnn.velocity import RIGHT, SPEED_OF_LIGHT, nmad, velocity_difference

__all__ = ["plot_compared", "plot_compared_velocities", "plot_wiggles", "save_figure"]

_OUTLIER = RIGHT * SPEED_OF_LIGHT  # km/s
_WIDTH = 0.05  # of the bins of N(z)


def _name(system):
    return ESTIMATORS.get(system, system) if system != "z" else system


def _look(number):
    return LOOKS[number % len(LOOKS)]


def _differences(comparison, system):
    """Velocity differences of the quasars that a system has a redshift for, their true redshifts and weights."""
    rows = comparison.redshifts
    dv = velocity_difference(rows[system], rows["z_true"])
    known = np.isfinite(dv)
    return dv[known], np.asarray(rows["z_true"])[known], np.asarray(rows["weight"])[known]


@styled
def plot_compared(comparison, *, figure=None):
    """Predicted against visual redshift, one panel for each system.

    Parameters
    ----------
    comparison : `~specz_cnn.evaluate.Comparison`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    systems, rows = comparison.systems, comparison.redshifts
    across = min(4, len(systems))
    down = -(-len(systems) // across)
    figure = prepared_figure(figure, 3.1 * across + 0.4, 3.2 * down + 0.2)
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    true = np.asarray(rows["z_true"], dtype=float)
    values = np.concatenate([np.asarray(rows[name], dtype=float) for name in systems])
    top = 1.04 * max(true.max(), np.nanmax(values, initial=0.5))
    whole = comparison.table[comparison.table["sample"] == "all"]
    many = len(rows) > _MANY
    for number, name in enumerate(systems):
        axis = axes.flat[number]
        log_redshift(axis, "x", top)
        log_redshift(axis, "y", top)
        axis.plot([0, top], [0, top], color=GREY, linewidth=0.8, zorder=1)
        z = np.asarray(rows[name], dtype=float)
        wrong = np.abs(velocity_difference(z, true)) > _OUTLIER
        color, _, _ = _look(number)
        size = 1.5 if many else 3.5
        axis.plot(true[~wrong], z[~wrong], "o", color=color, ms=size, mew=0, alpha=0.6, rasterized=many)
        axis.plot(true[wrong], z[wrong], "x", color="black", ms=size + 1.5, mew=0.8, rasterized=many)
        row = whole[whole["system"] == name][0]
        axis.set_title(f"{_name(name)}: {100 * row['within_3000']:.1f} % of {row['n_spectra']:,}")
        axis.set(xlim=(0, top), ylim=(0, top))
    for number in range(len(systems), axes.size):
        axes.flat[number].set_visible(False)
        axes.flat[number - across].tick_params(labelbottom=True)
    figure.supxlabel("reference redshift", fontsize=10)
    figure.supylabel("predicted redshift", fontsize=10)
    return figure


@styled
def plot_compared_velocities(comparison, *, limit=_OUTLIER, figure=None):
    """Histogram of the velocity differences of all systems.

    Parameters
    ----------
    comparison : `~specz_cnn.evaluate.Comparison`
    limit : float
        Differences up to this, in km/s, are drawn.
    figure : `matplotlib.figure.Figure`, optional

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    figure = prepared_figure(figure, 7.2, 5.4)
    axis = figure.subplots()
    every = np.concatenate([_differences(comparison, name)[0] for name in comparison.systems])
    edges = _velocity_edges({"dv": every}, limit)
    for number, name in enumerate(comparison.systems):
        dv, _, weights = _differences(comparison, name)
        core = np.abs(dv) <= limit
        if not core.any():
            continue
        share = 100 * np.histogram(dv[core], edges, weights=weights[core])[0] / weights.sum()
        beyond = 100 * (1 - weights[core].sum() / weights.sum())
        label = f"{_name(name)}: NMAD {nmad(dv[core], weights[core]):.0f} km/s, {beyond:.1f} % beyond"
        color, _, style = _look(number)
        axis.stairs(share, edges, color=color, linestyle=style, linewidth=1.4, label=label)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set(xlim=(-limit, limit), ylabel=f"per cent per {edges[1] - edges[0]:.0f} km/s")
    axis.set_xlabel("velocity difference $c\\,(z - z_\\mathrm{ref})/(1 + z_\\mathrm{ref})$ (km/s)")
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@styled
def plot_wiggles(comparison, *, figure=None):
    """Is the redshift drawn to preferred values?  N(z) over the true one, and the median difference, in fine bins of z.

    Parameters
    ----------
    comparison : `~specz_cnn.evaluate.Comparison`
    figure : `matplotlib.figure.Figure`, optional

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    figure = prepared_figure(figure, 7.6, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    top = float(np.max(comparison.redshifts["z_true"]))
    edges = np.arange(0, top + 2 * _WIDTH, _WIDTH)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for number, name in enumerate(comparison.systems):
        dv, true, weights = _differences(comparison, name)
        right = np.abs(dv) < _OUTLIER
        dv, true, weights = dv[right], true[right], weights[right]
        measured = true + (1 + true) * dv / SPEED_OF_LIGHT
        expected = np.histogram(true, edges, weights=weights)[0]
        found = np.histogram(measured, edges, weights=weights)[0]
        filled = expected >= 10
        color, _, style = _look(number)
        # What moves over an edge leaves one bin for the next: counting noise of N(z) itself is in both.
        excess = 100 * (found[filled] / expected[filled] - 1)
        upper.plot(middle[filled], excess, color=color, linestyle=style, linewidth=1.2, label=_name(name))
        index = np.digitize(true, edges) - 1
        median = np.array([np.median(dv[index == i]) for i in np.flatnonzero(filled)])
        lower.plot(middle[filled], median, color=color, linestyle=style, linewidth=1.2)
    for axis in (upper, lower):
        axis.axhline(0, color=GREY, linewidth=0.8)
    upper.set_ylabel(f"N(z) over true, per cent\n(bins of {_WIDTH:g})")
    lower.set(xlabel="reference redshift", ylabel="median difference (km/s)", xlim=(0, top))
    if upper.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=4)
    return figure


def save_figure(figure, path):
    """Write a figure; the same one gives the same bytes.

    Parameters
    ----------
    figure : `matplotlib.figure.Figure`
    path : path-like
        Ends in ``.png``, ``.pdf`` or ``.svg``.
    """
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    path = Path(path)
    if path.suffix not in metadata:
        raise ValueError(f"figures are png, pdf or svg, not {path.suffix!r}")
    _save(figure, path, metadata[path.suffix])
