"""Boxes and arrows for drawings of networks."""

from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FILLS = {
    "data": "#f2f2f2",
    "convolution": "#cfe3f2",
    "dense": "#fbe3c8",
    "correlation": "#cdeade",
    "output": "#f6d5d0",
}


def canvas(width, height, *, bottom=0.0):
    """An empty drawing, one unit to the inch, that begins at ``bottom``."""
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(bottom, bottom + height)
    axes.axis("off")
    return axes


def box(axes, x, y, text, kind, *, width=1.45, height=0.95):
    """A box centred at (x, y); gives its centre and half sizes."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            fc=FILLS[kind],
            ec="0.35",
            lw=0.9,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, linespacing=1.35)
    return x, y, width / 2, height / 2


def arrow(axes, start, end, label="", *, bend=0.0):
    """An arrow from one box to another, left to right or down."""
    x0, y0, w0, h0 = start
    x1, y1, w1, h1 = end
    if abs(x1 - x0) > w0 + w1:
        tail, head = (x0 + w0, y0), (x1 - w1, y1)
    else:
        sign = 1 if y1 > y0 else -1
        tail, head = (x0, y0 + sign * h0), (x1, y1 - sign * h1)
    axes.add_patch(
        FancyArrowPatch(
            tail,
            head,
            arrowstyle="-|>",
            mutation_scale=11,
            lw=1,
            color="0.3",
            connectionstyle=f"arc3,rad={bend}",
        )
    )
    if label:
        axes.text(
            (tail[0] + head[0]) / 2,
            (tail[1] + head[1]) / 2 + 0.08,
            label,
            ha="center",
            va="bottom",
            fontsize=7.5,
            color="0.3",
        )


def chain(axes, boxes):
    """Arrows through a row of boxes."""
    for start, end in pairwise(boxes):
        arrow(axes, start, end)
