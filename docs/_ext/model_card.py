"""``.. model-card:: NAME``: the part of a model card that the weights file itself tells; ``.. superseded-models::``, what
is left of weights that left the package."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from specz_cnn.models import WeightsError, model_info
from specz_cnn.models.cards import MERITS, describe_input, describe_output
from specz_cnn.models.registry import resolve_model, superseded_models
from specz_cnn.redshift.posterior import IDENTITY


class ModelCard(SphinxDirective):
    """Tables made from the metadata of a weights file."""

    required_arguments = 1

    def run(self):
        """Sections: the facts, how the weights were made, how good they are, how they are calibrated."""
        name = self.arguments[0]
        try:
            info = model_info(name)
        except WeightsError:
            return self._parse(["*This build of the documentation was made without these weights.*"])
        self.env.note_dependency(str(resolve_model(name)[0]))
        lines = _facts(info, resolve_model(name)[0].stat().st_size)
        lines += _made(info) + _merits(info) + _calibration(info)
        return self._parse(lines)

    def _parse(self, lines):
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source=f"model-card {self.arguments[0]}"), 0, container)
        return container.children


class SupersededModels(SphinxDirective):
    """A table made from the index of the packaged weights."""

    def run(self):
        """Tag, successor, facts and checksums of each."""
        models = superseded_models()
        rows = [
            (
                f"``{tag}``",
                f"``{facts['superseded_by']}``",
                f"{facts['architecture']}, {facts['z_range'][0]:g} to {facts['z_range'][1]:g}",
                facts["created"][:10],
                facts["description"],
                f"``{facts['model_sha256']}``",
                f"``{facts['sha256']}``",
            )
            for tag, facts in models.items()
        ]
        header = [
            "Tag",
            "Now",
            "Network, redshifts",
            "Made",
            "Description",
            "SHA-256 in results",
            "of the file",
        ]
        lines = _table(rows, header=header) if rows else ["So far there are none.", ""]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="superseded-models"), 0, container)
        return container.children


def _table(rows, title=None, header=None):
    """A list table; ``rows`` of equal length, text."""
    lines = [f".. list-table:: {title or ''}", "   :widths: auto"]
    lines += ["   :header-rows: 1"] if header else ["   :stub-columns: 1"]
    lines += [""]
    for row in ([header] if header else []) + list(rows):
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
    return [*lines, ""]


def _facts(info, size):
    rows = [
        ("Name and tag", f"``{info.name}``, ``{info.tag}``"),
        ("Network", f"`~specz_cnn.models.{info.architecture}`, {_arguments(info.arguments)}"),
        ("Parameters", f"{_count(info):,}"),
        ("File", f"{size / 1e6:.1f} MB"),
        ("Input", f"{describe_input(info)}; preprocessing {info.preprocess_version}"),
        ("Output", describe_output(info)),
        ("Redshifts", "{:g} to {:g}".format(*info.z_range)),
        ("Licence", info.licence),
        ("Made", f"{info.created[:10]}, specz-cnn {info.package_version}"),
        ("SHA-256", f"``{info.sha256}``"),
    ]
    return _table(rows, title="Facts")


def _arguments(arguments):
    shown = {k: v for k, v in arguments.items() if k not in ("n_pixels", "n_bins")}
    return ", ".join(f"``{k}={v}``" for k, v in shown.items()) or "default arguments"


def _count(info):
    from specz_cnn.models import load_model

    return sum(p.numel() for p in load_model(info.tag).parameters())


def _made(info):
    recipe, data = dict(info.recipe), dict(info.data)
    text = recipe.pop("text", "")
    rows = [(key.replace("_", " ").capitalize(), str(value)) for key, value in sorted(recipe.items())]
    rows += [("Seed", str(info.seed))]
    simulation = data.pop("simulation", None) or {}
    off = [f"``{key}``" for key, value in simulation.items() if value is False]
    if simulation:
        rows += [("Simulation", f"all ingredients on but {', '.join(off)}" if off else "all ingredients on")]
    for key, value in data.items():
        rows += [
            (
                "Real spectra" if key == "real" else key.replace("_", " ").capitalize(),
                str(value) if value else "none",
            )
        ]
    lines = _table(rows, title="Training")
    if text:
        lines += [
            ".. code-block:: toml",
            f"   :caption: Recipe (``specz-cnn train {info.name} --data DIR -o RUN``)",
            "",
        ]
        lines += [f"   {line}".rstrip() for line in text.splitlines()] + [""]
    return lines


def _merits(info):
    samples = {name: values for name, values in info.metrics.items() if isinstance(values, dict)}
    if not samples:
        return []
    names = [key for key in MERITS if any(key in values for values in samples.values())]
    rows = [
        [name] + [MERITS[key][1].format(values[key]) if values.get(key) is not None else "" for key in names]
        for name, values in samples.items()
    ]
    title = "On spectra kept out of the training, as logged by the training run (before calibration)"
    return _table(rows, title=title, header=["Sample"] + [MERITS[key][0] for key in names])


def _calibration(info):
    if not info.calibration:
        return ["These weights carry no calibration.", ""]
    calibration = {**IDENTITY, **info.calibration}
    thresholds = calibration["thresholds"]
    rows = [(f"Threshold of {key}", f"{value:.4g}") for key, value in thresholds.items() if value is not None]
    if info.bins is not None:
        rows += [
            ("Temperature", f"{calibration['temperature']:.3f}"),
            ("Share spread over all bins", f"{calibration['floor']:.2g}"),
            ("Point estimate", "{kind} within {half_width:.0f} km/s".format(**calibration["estimate"])),
        ]
    factors = calibration["error"]["factor"]
    if factors:
        rows += [("Factor on raw errors", f"{min(factors):.2f} to {max(factors):.2f}")]
    check = calibration["confidence"].get("check")
    if check:
        rows += [("Cross-check it was made with", f"``{check}``")]
    return _table(rows, title="Calibration")


def setup(app):
    """Register the directive."""
    app.add_directive("model-card", ModelCard)
    app.add_directive("superseded-models", SupersededModels)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
