"""Training that goes on from finished weights: small steps, watched by spectra of their own, and judged by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from specz_cnn.evaluate.metrics import binomial_interval
from specz_cnn.io.whole import write_whole

__all__ = ["EarlyStop", "compare_lines", "fine_tuning"]

_SLOWER = 10.0  # rate of a recipe over that of its fine-tuning
_AVERAGE = 0.98
_LOOKS = 20  # at the spectra that stop the training


def fine_tuning(recipe, start, *, steps=None, rate=None):
    """A recipe for going on from finished weights.

    Parameters
    ----------
    recipe : Recipe
    start : str or path-like
        Name of packaged weights, a weights file or a checkpoint, of the recipe's architecture.
    steps : int, optional
        The recipe's if not given.
    rate : float, optional
        Peak rate; a tenth of the recipe's if not given.

    Returns
    -------
    Recipe
    """
    training = dict(recipe.training)
    training.pop("cycles", None)
    training["steps"] = steps or training["steps"]
    training["rate"] = rate or training.get("rate", 2e-3) / _SLOWER
    training["average"] = min(_AVERAGE, training.get("average", 0.999))
    training["checkpoint_every"] = max(1, training["steps"] // _LOOKS)
    return replace(recipe, training=training, start={"weights": str(start)})


class EarlyStop:
    """Keeps the weights that did best on watched spectra, and ends a training that does no better any more.

    Parameters
    ----------
    trainer : Trainer
        Its `watch` is set.  The weights it starts with take part: a training that never does better ends with them.
    name : str
        Which of the trainer's validation sets is watched.
    patience : int
        Looks without improvement after which the training ends.
    """

    def __init__(self, trainer, name, *, patience=5):
        self.trainer, self.name, self.patience = trainer, name, patience
        self._path = Path(trainer.directory) / "best.pt"
        trainer.watch = self._look

    @property
    def best(self):
        """Step and loss of the best weights."""
        state = torch.load(self._path, map_location="cpu", weights_only=True)
        return state["step"], state["loss"]

    def begin(self):
        """Look at the weights that the training starts with; nothing where it continues."""
        if self.trainer.step == 0:
            self._keep(self.trainer.evaluate(self.trainer.validation[self.name])["loss"])

    def _keep(self, loss):
        with write_whole(self._path) as part:
            torch.save(
                {"step": self.trainer.step, "loss": loss, "averaged": self.trainer.averaged.state_dict()},
                part,
            )

    def _look(self, entry):
        loss = entry[self.name]["loss"]
        step, best = self.best
        if loss < best:
            self._keep(loss)
            return False
        return self.trainer.step - step >= self.patience * self.trainer.checkpoint_every

    def finish(self):
        """Give the trainer the best weights."""
        state = torch.load(self._path, map_location=self.trainer.device, weights_only=True)
        self.trainer.averaged.load_state_dict(state["averaged"])


def compare_lines(before, after):
    """Metrics of the same spectra before and after, as lines of text with 95 % intervals."""
    lines = [f"{'held-out quasars: ' + str(after['n']):32s} {'before':>24s} {'after':>24s}"]
    for name, words in (("within_600", "within 600 km/s"), ("within_3000", "within 3000 km/s")):
        cells = []
        for metrics in (before, after):
            low, high = binomial_interval(round(metrics[name] * metrics["n"]), metrics["n"], level=0.95)
            cells.append(f"{metrics[name]:.3f} ({low:.3f} to {high:.3f})")
        lines.append(f"{words:32s} {cells[0]:>24s} {cells[1]:>24s}")
    for name, words in (
        ("nmad", "NMAD of those (km/s)"),
        ("bias", "median of those (km/s)"),
        ("loss", "loss"),
    ):
        digits = ".3f" if name == "loss" else ".0f"
        lines.append(f"{words:32s} {before[name]:>24{digits}} {after[name]:>24{digits}}")
    return lines
