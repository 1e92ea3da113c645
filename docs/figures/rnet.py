"""Drawing of RNet and RNet-pz."""

from drawing import arrow, box, canvas, chain

axes = canvas(9.6, 2.8, bottom=0.5)
y = 2.35
steps = [
    box(axes, 0.75, y, "flux\n1 × 1212", "data", width=1.0),
    box(axes, 2.25, y, "32 filters of 200\nReLU, pool 2\n32 × 506", "convolution"),
    box(axes, 4.05, y, "16 filters of 200\nReLU, pool 2\n16 × 153", "convolution"),
    box(axes, 5.85, y, "128 filters of 20\nReLU, pool 2\n128 × 67", "convolution"),
    box(axes, 7.5, y, "8576 → 900\nReLU", "dense", width=1.2),
]
chain(axes, steps)
up = box(axes, 8.95, 2.35, "900 → 100 → 1", "dense", width=1.1, height=0.6)
arrow(axes, steps[-1], up)
axes.text(8.95, 2.85, "RNet: ln(1 + z)", ha="center", fontsize=9, weight="bold", color="#b03a2e")
down = box(axes, 7.9, 0.95, "8576 → 128 → 900 → 512 → 1136 + 1", "dense", width=2.9, height=0.6)
arrow(axes, steps[-2], down)
axes.text(
    6.3,
    0.95,
    "RNet-pz: p(z),\nnot a quasar",
    ha="right",
    va="center",
    fontsize=9,
    weight="bold",
    color="#b03a2e",
)
axes.text(
    4.05,
    3.08,
    "filters 200 pixels wide see the shift of the whole spectrum",
    ha="center",
    fontsize=8.5,
    color="0.3",
)
