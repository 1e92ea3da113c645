"""The figures of an evaluation.

Every function takes an `~specz_cnn.evaluate.Evaluation` and returns a `matplotlib.figure.Figure`, which does
not belong to pyplot: it needs no display, and nothing has to be closed. Colours are those of Okabe & Ito
(2008), which people with colour-blindness tell apart; shapes and line styles differ as well.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from specz_cnn.evaluate.figure_style import (
    BLUE,
    GREEN,
    GREY,
    LOOKS,
    ORANGE,
    RED,
    SKY,
    error_bars,
    log_redshift,
    prepared_figure,
    styled,
)
from specz_cnn.evaluate.metrics import REDSHIFT_BINS, SNR_BINS, completeness_purity
from specz_cnn.evaluate.probability_figures import (
    plot_coverage,
    plot_distribution,
    plot_pit,
    plot_reliability,
)
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

# More points than this are drawn small and as pixels.
_MANY = 5000


@styled
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
    figure = prepared_figure(figure, 6.0, 7.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
    known = np.isfinite(z)
    top = 1.04 * max(z_true.max(), z[known].max(initial=0.5))
    log_redshift(upper, "x", top)
    log_redshift(upper, "y", top)
    upper.plot([0, top], [0, top], color=GREY, linewidth=0.8, zorder=1)
    wrong = known & (np.abs(dv) > OUTLIER_VELOCITY)
    many = len(rows) > _MANY
    dots = {"marker": "o", "color": BLUE, "linestyle": "", "markeredgewidth": 0, "rasterized": many}
    dots |= {"markersize": 1.6, "alpha": 0.3} if many else {"markersize": 4, "alpha": 0.6}
    squares = {"marker": "s", "color": ORANGE, "fillstyle": "none", "linestyle": "", "markersize": 5}
    crosses = {"marker": "X", "color": RED, "linestyle": "", "markersize": 7, "markeredgewidth": 0}
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
        upper.set_title(f"{missing:,} without redshift are not shown", color=GREY)
    lower.axhspan(-600, 600, color=SKY, alpha=0.18, linewidth=0)
    for limit in (-OUTLIER_VELOCITY, OUTLIER_VELOCITY):
        lower.axhline(limit, color=GREY, linewidth=0.8, linestyle="--")
    lower.set_yscale("symlog", linthresh=1000, linscale=1.2)
    lower.set_yticks(
        [-1e5, -1e4, -1e3, 0, 1e3, 1e4, 1e5],
        labels=["$-10^5$", "$-10^4$", "$-1000$", "0", "1000", "$10^4$", "$10^5$"],
    )
    reach = max(12000.0, 1.5 * np.abs(dv[known]).max(initial=0.0))
    lower.set(ylim=(-reach, reach), xlabel="true redshift", ylabel="velocity difference (km/s)")
    return figure


@styled
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
    figure = prepared_figure(figure, 7.2, 4.6)
    axis = figure.subplots()
    edges = _velocity_edges(rows, limit)
    for row, (color, _, style) in zip(whole, LOOKS, strict=False):
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
    axis.axvline(0, color=GREY, linewidth=0.8)
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


@styled
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
    names = list(dict.fromkeys(table["estimator"]))[: len(LOOKS)]
    used = np.unique(np.searchsorted(edges, np.asarray(table["low"])))
    panels = [
        ("within_600", "within 600 km/s (%)", 100),
        ("within_3000", "within 3000 km/s (%)", 100),
        ("nmad", "NMAD (km/s)", 1),
    ]
    figure = prepared_figure(figure, 7.6, 8.8)
    axes = figure.subplots(len(panels) + 1, 1, sharex=True)
    for axis, (quantity, label, scale) in zip(axes, panels, strict=False):
        for i, name in enumerate(names):
            part = table[table["estimator"] == name]
            # Estimators stand beside each other in a bin.
            x = np.searchsorted(used, np.searchsorted(edges, np.asarray(part["low"]))) + 0.12 * (
                i - 0.5 * (len(names) - 1)
            )
            y, low, high = (scale * np.asarray(part[quantity + end]) for end in ("", "_lo", "_hi"))
            color, marker, _ = LOOKS[i]
            axis.errorbar(
                x,
                y,
                error_bars(y, low, high),
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
    figure.text(0.005, 0.035, "spectra", fontsize=9, color=GREY)
    return figure


def _bin_label(low, high):
    if not np.isfinite(low):
        return f"< {high:g}"
    return f"> {low:g}" if not np.isfinite(high) else f"{low:g}-{high:g}"


def _plot_pulls(axis, evaluation, by, edges, used):
    """NMAD of the pull and coverage of the 68 % interval."""
    axis.axhspan(0.8, 1.25, color=GREY, alpha=0.18, linewidth=0)
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.set_ylabel("errors: 1 is right")
    table = evaluation.calibration
    if len(table) == 0:
        return
    table = table[table["sample"] == by]
    x = np.searchsorted(used, np.searchsorted(edges, np.asarray(table["low"])))
    axis.plot(
        x - 0.06, table["pull_nmad"], "o", color=BLUE, markersize=5, label="NMAD of (z - z_true) / z_err"
    )
    y, low, high = (np.asarray(table["coverage_68" + end]) / 0.68 for end in ("", "_lo", "_hi"))
    axis.errorbar(
        x + 0.06,
        y,
        error_bars(y, low, high),
        fmt="D",
        color=GREEN,
        markersize=4,
        capsize=2,
        label="coverage of 68 % intervals / 0.68",
    )
    axis.set_ylim(0, max(2.0, min(4.0, 1.1 * float(np.nanmax(np.asarray(table["pull_nmad"]), initial=1.0)))))
    axis.legend(loc="upper left", ncols=2)


@styled
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
    figure = prepared_figure(figure, 9.0, 4.2)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 21)
    for name, (color, _, style) in zip(("QSO", "GALAXY", "STAR"), LOOKS, strict=False):
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
        (complete, "completeness", LOOKS[0]),
        (pure, "purity", LOOKS[1]),
    ):
        right.step(at, values, where="post", color=color, linestyle=style, linewidth=1.6, label=label)
    right.axvline(threshold, color=GREY, linewidth=0.8, linestyle="--")
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


@styled
def _save(figure, path, metadata):
    figure.savefig(path, metadata=metadata)
