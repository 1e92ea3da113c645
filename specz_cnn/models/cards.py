"""What the packaged networks are for, in a few lines; the pages of the documentation say more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from specz_cnn.velocity import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from specz_cnn.models.info import ModelInfo

__all__ = ["CARDS", "MERITS", "Card", "describe_input", "describe_output", "description_of", "summary_lines"]


@dataclass(frozen=True)
class Card:
    """What a person asks first about a network.

    Attributes
    ----------
    line : str
        What it is, in one line.
    use, limits : str
        What it is for, and what not.
    """

    line: str
    use: str
    limits: str


#: Cards by the name of the model, whatever the tag that it stands for.
CARDS = {
    "rnet-e": Card(
        "the default: learned rest-frame templates, cross-correlated in log wavelength",
        "redshifts of quasars in optical spectra, above all of SDSS, BOSS and eBOSS",
        "S/N below 0.3 per pixel, or less than half of the range (both are flagged)",
    ),
    "rnet-pz": Card(
        "the second opinion in every fit: RNet's convolutions with p(z) as output",
        "the cross-check; as a model of its own it gives all that rnet-e gives",
        "bins twice as wide, so less precise on bright spectra",
    ),
    "rnet": Card(
        "RNet as published: one number as output",
        "comparisons with the published network; errors are those of its residuals",
        "p(z), a runner-up or the probability of a quasar; one redshift in ten is far off",
    ),
    "rnet-z2.8-3.0": Card(
        "RNet for 2.8 < z < 3.0, the experiment of the talk",
        "quasars that are known to be in this range",
        "anything else: whatever the spectrum, its redshift is in this range",
    ),
    "pca": Card(
        "eigenspectra fitted at every redshift, the classical estimator",
        "a cross-check that is no network; comparisons",
        "telling stars and galaxies from quasars: it fits something to everything",
    ),
    "quasarnet": Card(
        "QuasarNET (Busca & Balland 2018): finders of six lines",
        "comparisons with the published network",
        "precise redshifts: a line is found within a box, which leaves 850 km/s",
    ),
}

#: Figures of merit that a training run leaves in the metadata: what they are, and their format.
MERITS = {
    "n": ("spectra", "{:.0f}"),
    "within_600": ("within 600 km/s", "{:.1%}"),
    "within_3000": ("within 3000 km/s", "{:.1%}"),
    "within_6000": ("within 6000 km/s", "{:.1%}"),
    "bias": ("bias (km/s)", "{:+.0f}"),
    "nmad": ("NMAD (km/s)", "{:.0f}"),
    "completeness": ("quasars called quasars", "{:.1%}"),
    "rejection": ("others called others", "{:.1%}"),
}


def description_of(info: ModelInfo) -> str:
    """What a network is, in one line: what its file says, or else its card."""
    card = CARDS.get(info.name)
    return info.description or (card.line if card else "")


def describe_input(info: ModelInfo) -> str:
    """Pixels and range of what a network reads."""
    grid = info.model_grid
    low, high = 10 ** grid.edges[[0, -1]]
    return (
        f"{grid.n_pixels} pixels of {SPEED_OF_LIGHT * grid.step:.0f} km/s, {low:.0f} to {high:.0f} Å (vacuum)"
    )


def describe_output(info: ModelInfo) -> str:
    """What a network says."""
    if info.bins is None:
        return "one number, standardised ln(1 + z)"
    width = SPEED_OF_LIGHT * info.bins["step"]
    return f"{info.bins['n']} bins of {width:.0f} km/s in ln(1 + z), and “not a quasar”"


def summary_lines(info: ModelInfo, *, n_bytes: int, n_parameters: int) -> list[str]:
    """What a network is for, how good it is and how large.

    Parameters
    ----------
    info : ModelInfo
    n_bytes : int
        Size of its file.
    n_parameters : int

    Returns
    -------
    list of str
    """
    card = CARDS.get(info.name)
    rows = [("for", card.use), ("not for", card.limits)] if card else []
    rows += [
        ("redshifts", "{:g} to {:g}".format(*info.z_range)),
        ("input", describe_input(info)),
        ("output", describe_output(info)),
        *(("how good", line) for line in _how_good(info)),
        ("how large", f"{n_bytes / 1e6:.1f} MB, {n_parameters:,} parameters"),
        ("made", f"{info.created[:10]}, specz-cnn {info.package_version}; licence {info.licence}"),
        ("sha256", info.sha256),
    ]
    head = f"{info.name} ({info.tag}), {info.architecture}: {description_of(info)}".removesuffix(": ")
    return [head, *(f"  {name:<10} {text}" for name, text in rows)]


def _how_good(info):
    """A line for each sample that the training run kept out, before calibration."""
    samples = {name: values for name, values in info.metrics.items() if isinstance(values, dict)}
    lines = []
    for sample, values in samples.items():
        said = {key: MERITS[key][1].format(values[key]) for key in MERITS if values.get(key) is not None}
        words = [f"{said[key]} {MERITS[key][0]}" for key in ("within_600", "within_3000") if key in said]
        words += [f"NMAD {said['nmad']} km/s"] if "nmad" in said else []
        words += [f"{said['completeness']} of quasars called so"] if "completeness" in said else []
        lines.append(f"{', '.join(words)} ({said.get('n', '')} {sample} spectra kept out)")
    return lines or ["the page “accuracy” of the documentation has figures"]
