"""From a finished run to a weights file."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch

from specz_cnn.models.info import ModelInfo
from specz_cnn.models.registry import save_model

__all__ = ["save_weights"]


def save_weights(trainer, recipe, directory, *, tag=None):
    """Write the averaged weights of a trainer as a safetensors file with all metadata.

    Parameters
    ----------
    trainer : Trainer
    recipe : Recipe
    directory : path-like
        The file is ``NAME.safetensors`` in it.
    tag : str, optional
        Name of exactly these weights; by default ``NAME-1``.

    Returns
    -------
    `~pathlib.Path`
    """
    model = recipe.model
    name = model["name"]
    log = Path(trainer.directory) / "log.jsonl"
    last = json.loads(log.read_text().splitlines()[-1]) if log.exists() else {}
    info = ModelInfo(
        name=name,
        tag=tag or f"{name}-1",
        architecture=model["architecture"],
        arguments=model.get("arguments", {}),
        grid=recipe.grid.to_dict(),
        bins=model.get("bins"),
        target=model.get("target"),
        z_range=(recipe.simulation.z_min, recipe.simulation.z_max),
        frame=recipe.simulation.frame,
        recipe={
            "text": recipe.text,
            "steps": trainer.step,
            "batch_size": recipe.training["batch_size"],
            "training": recipe.training,  # as it was, whatever the text says
            "start": recipe.start and {**recipe.start, "weights": Path(recipe.start["weights"]).name},
        },
        data={"simulation": recipe.simulation.to_dict(), "bank": trainer.bank, "real": recipe.real},
        metrics={key: value for key, value in last.items() if isinstance(value, dict)},
        seed=recipe.training.get("seed", 0),
        description=model.get("description", ""),
        preprocess_version=recipe.architecture.preprocess_version,
    )
    info.recipe["hardware"] = f"{platform.machine()}, {trainer.device.type}, torch {torch.__version__}"
    path = Path(directory) / f"{name}.safetensors"
    save_model(path, trainer.averaged, info)
    return path
