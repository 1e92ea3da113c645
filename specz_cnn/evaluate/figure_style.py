"""The look of the figures of an evaluation, whatever the settings of the user."""

from __future__ import annotations

from functools import wraps

import numpy as np

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "LOOKS",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "YELLOW",
    "error_bars",
    "log_redshift",
    "prepared_figure",
    "styled",
]


BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
)


GREY = "#6b6b6b"


# Colour, marker and line style of each estimator, in the order of the tables.
LOOKS = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", "-."),
    (PURPLE, "D", ":"),
    (RED, "v", (0, (5, 1))),
    (SKY, "P", (0, (3, 1, 1, 1))),
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


def styled(function):
    """Draw in the style of the package, whatever the user's own is."""

    @wraps(function)
    def draw(*args, **kwargs):
        from matplotlib import style

        with style.context(["default", _STYLE]):
            return function(*args, **kwargs)

    return draw


def prepared_figure(figure, width, height):
    """A new figure, or the given one, of the wanted size and layout."""
    if figure is None:
        from matplotlib.figure import Figure

        figure = Figure()
    figure.set_size_inches(width, height)
    figure.set_layout_engine("constrained")
    return figure


def log_redshift(axis, which, top):
    """Make an axis linear in ln(1 + z), in which a shift of all lines is a shift."""
    getattr(axis, f"set_{which}scale")("function", functions=(_log1p, np.expm1))
    ticks = [z for z in (0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7) if z <= top]
    getattr(axis, f"set_{which}ticks")(ticks, labels=[f"{z:g}" for z in ticks])


def _log1p(z):
    return np.log1p(np.maximum(z, -0.9))


def error_bars(value, low, high):
    """Lengths of error bars, which rounding must not make negative."""
    return np.clip(np.array([value - low, high - value]), 0, None)
