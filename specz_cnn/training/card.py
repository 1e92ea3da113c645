"""A model card: what a person should know before using a network, as a page of text."""

from __future__ import annotations

from pathlib import Path

from specz_cnn.io.whole import write_whole
from specz_cnn.models.registry import load_model

__all__ = ["write_card"]


def write_card(weights, path, *, samples, report):
    """Write the card of a weights file.

    Parameters
    ----------
    weights : path-like
    path : path-like
        A text file (reStructuredText).
    samples : dict of str to str
        What each part of the data was.
    report : str
        The evaluation on spectra that took no part in anything.
    """
    info = load_model(weights).info
    title = info.name
    facts = {
        "Tag": f"``{info.tag}``",
        "SHA-256": f"``{info.sha256}``",
        "Architecture": f"{info.architecture} {info.arguments}",
        "Redshifts": f"{info.z_range[0]:g} to {info.z_range[1]:g}",
        "Trained": f"{info.recipe.get('steps')} steps of {info.recipe.get('batch_size')} spectra, "
        f"{info.recipe.get('hardware')}",
        "Calibrated on": ", ".join(info.calibration.get("report", {}).get("data", [])) or "nothing",
        "Written": f"{info.created}, specz-cnn {info.package_version}",
        "Licence": info.licence,
    }
    lines = (
        [title, "=" * len(title), "", info.description, ""]
        if info.description
        else [title, "=" * len(title), ""]
    )
    lines += [f":{name}: {value}" for name, value in (facts | samples).items()]
    lines += [
        "",
        "Intended use",
        "------------",
        "",
        _INTENDED,
        "",
        "Accuracy on the test set",
        "------------------------",
        "",
    ]
    lines += ["Objects that took part neither in the training nor in the calibration::", ""]
    lines += [f"    {line}" if line else "" for line in report.splitlines()]
    lines += ["", "Recipe", "------", "", "::", ""]
    lines += [f"    {line}" if line else "" for line in info.recipe.get("text", "").splitlines()]
    with write_whole(Path(path)) as part:
        part.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


_INTENDED = """\
Redshifts of quasars in optical spectra like those of the training. A redshift is in the convention of the catalogue that
the labels came from. Spectra of another instrument, of other kinds of objects or of other redshifts than those above need
an evaluation of their own first."""
