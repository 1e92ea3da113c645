"""Drawing of RNet-E."""

from drawing import arrow, box, canvas, chain

from specz_cnn.models import model_info

arguments = model_info("rnet-e").arguments
channels, kernels, stride = arguments["channels"], arguments["kernels"], arguments["stride"]
n, n_bins, n_templates = arguments["n_pixels"], arguments["n_bins"], arguments["n_templates"]

axes = canvas(9.6, 3.2, bottom=0.35)
y = 2.6
convolutions = "\n".join(f"{c} filters of {k}" for c, k in zip(channels, kernels, strict=True))
steps = [
    box(axes, 0.8, y, f"flux and\nknowledge\n2 × {n}", "data", width=1.1),
    box(
        axes,
        2.5,
        y,
        convolutions + f"\n{channels[-1]} × {n // stride}",
        "convolution",
        width=1.5,
        height=1.15,
    ),
    box(
        axes,
        4.65,
        y,
        f"cross-correlation at\n{n_bins} redshifts\n{n_templates} × {n_bins}",
        "correlation",
        width=1.75,
    ),
    box(axes, 6.75, y, f"sum, and 2 filters\nalong the redshift\n{n_bins} logits", "convolution", width=1.55),
    box(axes, 8.7, y, "p(z)", "output", width=1.0, height=0.7),
]
chain(axes, steps)
templates = box(
    axes,
    4.65,
    0.85,
    f"{n_templates} learned rest-frame templates\nof {channels[-1]} features, {n + n_bins} pixels each",
    "correlation",
    width=2.35,
    height=0.8,
)
arrow(axes, templates, steps[2])
other = box(axes, 6.95, 0.85, "features in segments,\nhighest correlations", "dense", width=1.6, height=0.8)
arrow(axes, steps[2], other)
last = box(axes, 8.8, 0.85, "not a quasar", "output", width=1.1, height=0.7)
arrow(axes, other, last)
axes.text(2.5, 3.4, "what is seen, where", ha="center", fontsize=8.5, color="0.3")
axes.text(4.65, 3.4, "how well it fits, shifted by z", ha="center", fontsize=8.5, color="0.3")
