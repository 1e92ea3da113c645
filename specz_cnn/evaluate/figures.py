"""The figures of an evaluation.

Every function takes an `~specz_cnn.evaluate.Evaluation` and returns a `matplotlib.figure.Figure`, which does
not belong to pyplot: it needs no display, and nothing has to be closed. Colours are those of Okabe & Ito
(2008), which people with colour-blindness tell apart; shapes and line styles differ as well.
"""

from __future__ import annotations

from functools import partial, wraps
from itertools import pairwise
from pathlib import Path

import numpy as np

from specz_cnn.evaluate.metrics import (
    NZ_WIDTH,
    REDSHIFT_BINS,
    SNR_BINS,
    binomial_interval,
    completeness_purity,
)
from specz_cnn.evaluate.probability import COVERAGE_LEVELS, coverage
from specz_cnn.evaluate.references import ESTIMATORS
from specz_cnn.velocity import OUTLIER_VELOCITY, nmad, velocity_difference

__all__ = [
    "FIGURES",
    "plot_bins",
    "plot_classification",
    "plot_coverage",
    "plot_distribution",
    "plot_pit",
    "plot_predicted",
    "plot_reliability",
    "plot_velocities",
    "save_figures",
]

_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, _RED, _YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
)
_GREY = "#6b6b6b"

# Colour, marker and line style of each estimator, in the order of the tables.
_LOOKS = (
    (_BLUE, "o", "-"),
    (_ORANGE, "s", "--"),
    (_GREEN, "^", "-."),
    (_PURPLE, "D", ":"),
    (_RED, "v", (0, (5, 1))),
    (_SKY, "P", (0, (3, 1, 1, 1))),
    ("black", "X", (0, (1, 1))),
)

_STYLE = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.dpi": 160,
    # Names of SVG elements that do not change from run to run.
    "svg.hashsalt": "specz-cnn",
}

# More points than this are drawn small and as pixels.
_MANY = 5000


def _styled(function):
    """Draw in the style of the package, whatever the user's own is."""

    @wraps(function)
    def draw(*args, **kwargs):
        from matplotlib import style

        with style.context(["default", _STYLE]):
            return function(*args, **kwargs)

    return draw


def _prepared(figure, width, height):
    """A new figure, or the given one, of the wanted size and layout."""
    if figure is None:
        from matplotlib.figure import Figure

        figure = Figure()
    figure.set_size_inches(width, height)
    figure.set_layout_engine("constrained")
    return figure


def _log_redshift(axis, which, top):
    """Make an axis linear in ln(1 + z), in which a shift of all lines is a shift."""
    getattr(axis, f"set_{which}scale")("function", functions=(_log1p, np.expm1))
    ticks = [z for z in (0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7) if z <= top]
    getattr(axis, f"set_{which}ticks")(ticks, labels=[f"{z:g}" for z in ticks])


def _log1p(z):
    return np.log1p(np.maximum(z, -0.9))


@_styled
def plot_predicted(evaluation, *, figure=None):
    """Measured against true redshift, and the velocity difference below.

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
    z_true, z, dv = (np.asarray(rows[name], dtype=float) for name in ("z_true", "z", "dv"))
    flagged = np.asarray(rows["flags"]) != 0
    figure = _prepared(figure, 6.0, 7.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
    known = np.isfinite(z)
    top = 1.04 * max(z_true.max(), z[known].max(initial=0.5))
    _log_redshift(upper, "x", top)
    _log_redshift(upper, "y", top)
    upper.plot([0, top], [0, top], color=_GREY, linewidth=0.8, zorder=1)
    wrong = known & (np.abs(dv) > OUTLIER_VELOCITY)
    many = len(rows) > _MANY
    dots = {"marker": "o", "color": _BLUE, "linestyle": "", "markeredgewidth": 0, "rasterized": many}
    dots |= {"markersize": 1.6, "alpha": 0.3} if many else {"markersize": 4, "alpha": 0.6}
    squares = {"marker": "s", "color": _ORANGE, "fillstyle": "none", "linestyle": "", "markersize": 5}
    crosses = {"marker": "X", "color": _RED, "linestyle": "", "markersize": 7, "markeredgewidth": 0}
    kinds = (
        (known & ~flagged & ~wrong, "unflagged", dots),
        (known & flagged, "flagged", squares),
        (wrong & ~flagged, "unflagged outliers", crosses),
    )
    for chosen, label, look in kinds:
        upper.plot(z_true[chosen], z[chosen], label=f"{label} ({chosen.sum():,})", **look)
        lower.plot(z_true[chosen], dv[chosen], **look)
    upper.set(xlim=(0, top), ylim=(0, top), ylabel="measured redshift")
    legend = figure.legend(loc="outside upper left", ncols=3)
    for handle in legend.legend_handles:
        handle.set(alpha=1, markersize=max(4, handle.get_markersize()))
    if missing := int((~known).sum()):
        upper.set_title(f"{missing:,} without redshift are not shown", color=_GREY)
    lower.axhspan(-600, 600, color=_SKY, alpha=0.18, linewidth=0)
    for limit in (-OUTLIER_VELOCITY, OUTLIER_VELOCITY):
        lower.axhline(limit, color=_GREY, linewidth=0.8, linestyle="--")
    lower.set_yscale("symlog", linthresh=1000, linscale=1.2)
    lower.set_yticks(
        [-1e5, -1e4, -1e3, 0, 1e3, 1e4, 1e5],
        labels=["$-10^5$", "$-10^4$", "$-1000$", "0", "1000", "$10^4$", "$10^5$"],
    )
    reach = max(12000.0, 1.5 * np.abs(dv[known]).max(initial=0.0))
    lower.set(ylim=(-reach, reach), xlabel="true redshift", ylabel="velocity difference (km/s)")
    return figure


@_styled
def plot_velocities(evaluation, *, limit=OUTLIER_VELOCITY, figure=None):
    """Histogram of the velocity differences of every estimator.

    Estimates that are the reference itself would pile up at zero; they are left out, and the legend says how
    many.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    limit : float
        Differences up to this, in km/s, are drawn.
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    rows = evaluation.quasars
    whole = evaluation.redshifts[evaluation.redshifts["sample"] == "all"]
    figure = _prepared(figure, 7.2, 4.6)
    axis = figure.subplots()
    edges = _velocity_edges(rows, limit)
    for row, (color, _, style) in zip(whole, _LOOKS, strict=False):
        name = row["estimator"]
        dv = velocity_difference(rows[name], rows["z_true"])
        weights = np.asarray(rows["weight"])
        chosen = np.isfinite(dv)
        note = ""
        if row["identical"] > 0.02:
            chosen &= np.abs(dv) >= 1.0
            note = f"; {100 * row['identical']:.0f} % are the reference"
        if not chosen.any():
            continue
        core = chosen & (np.abs(dv) <= limit)
        counts, _ = np.histogram(dv[core], edges, weights=weights[core])
        share = 100 * counts / weights[chosen].sum()
        label = f"{ESTIMATORS.get(name, name)}: NMAD {nmad(dv[core], weights[core]):.0f} km/s, "
        beyond = 100 * (1 - weights[core].sum() / weights[chosen].sum())
        label += f"{beyond:.1f} % beyond{note}"
        axis.stairs(
            share, edges, color=color, linestyle=style, linewidth=1.8 if name == "z" else 1.2, label=label
        )
        if name == "z":
            axis.stairs(share, edges, color=color, alpha=0.15, fill=True)
    axis.axvline(0, color=_GREY, linewidth=0.8)
    axis.set(
        xlim=(-limit, limit),
        xlabel="velocity difference $c\\,(z - z_\\mathrm{true})/(1 + z_\\mathrm{true})$ (km/s)",
    )
    axis.set_ylabel(f"per cent per {edges[1] - edges[0]:.0f} km/s")
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside upper left", ncols=1)
    return figure


def _velocity_edges(rows, limit):
    """Bins of a round width, one centred on zero, fine enough for the core (Freedman-Diaconis rule)."""
    dv = np.asarray(rows["dv"], dtype=float)
    dv = dv[np.abs(dv) <= limit]
    width = 200.0
    if dv.size > 1:
        low, high = np.quantile(dv, [0.25, 0.75])
        widths = np.array([10.0, 20.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0])
        # Half as wide again: several outlines on top of each other must stay readable.
        wanted = 3.0 * (high - low) / dv.size ** (1 / 3)
        width = widths[np.argmin(np.abs(np.log(widths / max(wanted, 1.0))))]
    n_side = int(limit // width)
    return width * (np.arange(-n_side, n_side + 2) - 0.5)


def _bars(value, low, high):
    """Lengths of error bars, which rounding must not make negative."""
    return np.clip(np.array([value - low, high - value]), 0, None)


@_styled
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
    figure = _prepared(figure, 9.0, 5.4)
    (left_count, rest_count), (left, rest) = figure.subplots(2, 2, sharex="col", height_ratios=(1, 4))
    left.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    left.errorbar(stated, right, _bars(right, low, high), fmt="o", color=_BLUE, capsize=2, markersize=5)
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
    bars = _bars(wrong, 1 - high, 1 - low)[:, some]
    rest.plot([floor / 2, 1], [floor / 2, 1], color=_GREY, linewidth=0.8)
    rest.errorbar(doubt[some], wrong[some], bars, fmt="o", color=_BLUE, capsize=2, markersize=5)
    if (~some).any():
        rest.plot(doubt[~some], (1 - low)[~some], "v", color=_ORANGE, label="none wrong: upper bound")
        rest.legend(loc="upper left")
    rest.set(xscale="log", yscale="log", xlim=(floor / 2, 1.3), ylim=(floor / 2, 1.3))
    rest.set(xlabel="1 - stated confidence", ylabel="fraction beyond 3000 km/s")
    for axis, x in ((left_count, stated), (rest_count, doubt)):
        axis.vlines(x, 0.3, n, color=_GREY, linewidth=3)
        axis.set_yscale("log")
        axis.set_ylim(0.3, 3 * max(1.0, n.max()))
    return figure


@_styled
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
    figure = _prepared(figure, 5.2, 5.2)
    axis = figure.subplots()
    levels = np.linspace(0, 1, 201)
    axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="right errors")
    kinds = (("all", np.ones(len(rows), bool), _LOOKS[0]), ("unflagged", ~flagged, _LOOKS[1]))
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
    axis.set_title(f"intervals from {evaluation.meta['intervals']}", color=_GREY)
    axis.legend(loc="upper left")
    return figure


@_styled
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
    figure = _prepared(figure, 6.0, 4.0)
    axis = figure.subplots()
    axis.axhspan(low * n_bins, high * n_bins, color=_GREY, alpha=0.2, linewidth=0, label="chance, 68 %")
    axis.axhline(1, color=_GREY, linewidth=0.8)
    axis.stairs(counts / total * n_bins, edges, color=_BLUE, linewidth=1.6)
    axis.stairs(counts / total * n_bins, edges, color=_BLUE, alpha=0.15, fill=True)
    axis.set(xlim=(0, 1), xlabel="probability below the true redshift (PIT)", ylabel="density")
    axis.set_ylim(0, 1.25 * max(1.3, n_bins * counts.max() / total))
    axis.set_title(
        f"{total:.0f} {evaluation.meta['counted']}, from {evaluation.meta['intervals']}", color=_GREY
    )
    axis.legend(loc="upper center")
    return figure


@_styled
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
    figure = _prepared(figure, 7.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    upper.stairs(n_true, edges, color=_GREY, fill=True, alpha=0.35, label="true")
    occupied = (n_true > 0) | (n > 0)
    upper.errorbar(
        middle[occupied],
        n[occupied],
        np.sqrt(n[occupied]),
        fmt="o",
        color=_BLUE,
        markersize=4,
        capsize=2,
        label="measured",
    )
    upper.set_ylabel(f"{evaluation.meta['counted']} per {NZ_WIDTH:g} in z")
    upper.set_ylim(bottom=0)
    upper.legend(loc="upper right")
    lower.axhspan(-1, 1, color=_GREY, alpha=0.2, linewidth=0)
    lower.stairs(difference, edges, color=_BLUE, baseline=0, fill=True, alpha=0.6)
    lower.axhline(0, color=_GREY, linewidth=0.8)
    reach = max(2.0, 1.15 * np.abs(difference).max())
    lower.set(xlim=(0, top), ylim=(-reach, reach), xlabel="redshift", ylabel="difference /\ncounting noise")
    return figure


@_styled
def plot_bins(evaluation, by="redshift", *, figure=None):
    """Fractions within 600 and 3000 km/s, scatter and honesty of the errors, by redshift or S/N.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    by : {"redshift", "S/N"}
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    edges = np.asarray(REDSHIFT_BINS if by == "redshift" else SNR_BINS)
    labels = [_bin_label(low, high) for low, high in pairwise(edges)]
    table = evaluation.redshifts[evaluation.redshifts["sample"] == by]
    # An estimate that is mostly a copy of the reference shows nothing here.
    copied = evaluation.redshifts["identical"] > 0.5
    copies = set(evaluation.redshifts["estimator"][copied & (evaluation.redshifts["sample"] == "all")])
    table = table[~np.isin(table["estimator"], sorted(copies - {"z"}))]
    names = list(dict.fromkeys(table["estimator"]))[: len(_LOOKS)]
    used = np.unique(np.searchsorted(edges, np.asarray(table["low"])))
    panels = [
        ("within_600", "within 600 km/s (%)", 100),
        ("within_3000", "within 3000 km/s (%)", 100),
        ("nmad", "NMAD (km/s)", 1),
    ]
    figure = _prepared(figure, 7.6, 8.8)
    axes = figure.subplots(len(panels) + 1, 1, sharex=True)
    for axis, (quantity, label, scale) in zip(axes, panels, strict=False):
        for i, name in enumerate(names):
            part = table[table["estimator"] == name]
            # Estimators stand beside each other in a bin.
            x = np.searchsorted(used, np.searchsorted(edges, np.asarray(part["low"]))) + 0.12 * (
                i - 0.5 * (len(names) - 1)
            )
            y, low, high = (scale * np.asarray(part[quantity + end]) for end in ("", "_lo", "_hi"))
            color, marker, _ = _LOOKS[i]
            axis.errorbar(
                x,
                y,
                _bars(y, low, high),
                fmt=marker,
                color=color,
                capsize=2,
                markersize=5,
                label=ESTIMATORS.get(name, name),
            )
        axis.set_ylabel(label)
    for axis, quantity in zip(axes[:2], ("within_600", "within_3000"), strict=True):
        bottom = max(0.0, min(90.0, 100 * float(np.nanmin(table[quantity])) - 5.0))
        # Room for the markers at 100 and at 0 %.
        margin = 0.05 * (100.0 - bottom)
        axis.set_ylim(bottom - (margin if bottom == 0 else 0), 100.0 + margin)
    # Intervals of bins with a handful of objects may reach far out of the picture.
    axes[2].set_ylim(0, 1.6 * max(1.0, float(np.nanmax(table["nmad"].value, initial=1.0))))
    _plot_pulls(axes[3], evaluation, by, edges, used)
    ours = table[table["estimator"] == "z"]
    count = dict(zip(np.searchsorted(edges, np.asarray(ours["low"])), ours["n_spectra"], strict=True))
    axes[3].set_xticks(range(used.size), labels=[f"{labels[i]}\n{count.get(i, 0):,}" for i in used])
    axes[3].set_xlabel("true redshift" if by == "redshift" else "median signal-to-noise ratio per pixel")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=min(len(names), 5))
    figure.text(0.005, 0.035, "spectra", fontsize=9, color=_GREY)
    return figure


def _bin_label(low, high):
    if not np.isfinite(low):
        return f"< {high:g}"
    return f"> {low:g}" if not np.isfinite(high) else f"{low:g}-{high:g}"


def _plot_pulls(axis, evaluation, by, edges, used):
    """NMAD of the pull and coverage of the 68 % interval."""
    axis.axhspan(0.8, 1.25, color=_GREY, alpha=0.18, linewidth=0)
    axis.axhline(1, color=_GREY, linewidth=0.8)
    axis.set_ylabel("errors: 1 is right")
    table = evaluation.calibration
    if len(table) == 0:
        return
    table = table[table["sample"] == by]
    x = np.searchsorted(used, np.searchsorted(edges, np.asarray(table["low"])))
    axis.plot(
        x - 0.06, table["pull_nmad"], "o", color=_BLUE, markersize=5, label="NMAD of (z - z_true) / z_err"
    )
    y, low, high = (np.asarray(table["coverage_68" + end]) / 0.68 for end in ("", "_lo", "_hi"))
    axis.errorbar(
        x + 0.06,
        y,
        _bars(y, low, high),
        fmt="D",
        color=_GREEN,
        markersize=4,
        capsize=2,
        label="coverage of 68 % intervals / 0.68",
    )
    axis.set_ylim(0, max(2.0, min(4.0, 1.1 * float(np.nanmax(np.asarray(table["pull_nmad"]), initial=1.0)))))
    axis.legend(loc="upper left", ncols=2)


@_styled
def plot_classification(evaluation, *, figure=None):
    """Distribution of p_qso by class, and completeness and purity at every threshold.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    figure : `matplotlib.figure.Figure`, optional
        An empty figure to draw into, for example from `matplotlib.pyplot.figure`; a new one by default.

    Returns
    -------
    `matplotlib.figure.Figure`
    """
    rows = evaluation.classified
    p_qso, weights = (np.asarray(rows[name], dtype=float) for name in ("p_qso", "weight"))
    cls = np.asarray(rows["cls"])
    threshold = float(evaluation.classification["threshold"][0])
    figure = _prepared(figure, 9.0, 4.2)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 21)
    for name, (color, _, style) in zip(("QSO", "GALAXY", "STAR"), _LOOKS, strict=False):
        chosen = (cls == name) & np.isfinite(p_qso)
        if not chosen.any():
            continue
        counts, _ = np.histogram(p_qso[chosen], edges, weights=weights[chosen])
        left.stairs(
            counts,
            edges,
            color=color,
            linestyle=style,
            linewidth=1.6,
            label=f"{name} ({weights[chosen].sum():.0f})",
        )
    left.set(xlim=(0, 1), yscale="log", xlabel="p_qso", ylabel=evaluation.meta["counted"])
    left.set_ylim(bottom=0.5)
    left.legend(loc="upper center")
    at, complete, pure = completeness_purity(p_qso, cls == "QSO", weights=weights)
    for values, label, (color, _, style) in (
        (complete, "completeness", _LOOKS[0]),
        (pure, "purity", _LOOKS[1]),
    ):
        right.step(at, values, where="post", color=color, linestyle=style, linewidth=1.6, label=label)
    right.axvline(threshold, color=_GREY, linewidth=0.8, linestyle="--")
    middle = np.minimum(complete, pure)[(at > 0.02) & (at < 0.98)]
    right.set(
        xlim=(0, 1),
        ylim=(min(0.95, max(0.0, middle.min(initial=1.0) - 0.02)), 1.002),
        xlabel="threshold on p_qso",
    )
    right.legend(loc="lower center")
    first = evaluation.classification[0]
    right.set_title(
        f"at {threshold:g}: completeness {first['completeness']:.4f}, purity {first['purity']:.4f}"
    )
    return figure


def _has_rows(name):
    return lambda evaluation: len(getattr(evaluation, name)) > 0


def _has_bins(by):
    return lambda evaluation: bool(np.any(evaluation.redshifts["sample"] == by))


#: File name without ending: the function that draws it, and whether there is anything to draw.
FIGURES = {
    "predicted_vs_true": (plot_predicted, _has_rows("quasars")),
    "velocity_difference": (plot_velocities, _has_rows("quasars")),
    "by_redshift": (partial(plot_bins, by="redshift"), _has_bins("redshift")),
    "by_snr": (partial(plot_bins, by="S/N"), _has_bins("S/N")),
    "reliability": (plot_reliability, _has_rows("reliability")),
    "coverage": (plot_coverage, _has_rows("calibration")),
    "pit": (plot_pit, _has_rows("calibration")),
    "distribution": (plot_distribution, _has_rows("distribution")),
    "classification": (plot_classification, _has_rows("classification")),
}


def save_figures(evaluation, directory, *, suffix="png"):
    """Draw all figures for which the results have the columns.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`
    directory : str or `~pathlib.Path`
        Where to put them; it must exist.
    suffix : {"png", "pdf", "svg"}
        Kind of file. The same evaluation gives the same bytes.

    Returns
    -------
    list of `~pathlib.Path`
    """
    # Creation dates would make every file differ from the last.
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    if suffix not in metadata:
        raise ValueError(f"figures are png, pdf or svg, not {suffix!r}")
    paths = []
    for name, (draw, is_there) in FIGURES.items():
        if is_there(evaluation):
            paths.append(Path(directory) / f"{name}.{suffix}")
            _save(draw(evaluation), paths[-1], metadata[suffix])
    return paths


@_styled
def _save(figure, path, metadata):
    figure.savefig(path, metadata=metadata)
