"""What each choice of RNet-E bought: short trainings that differ in one thing.

Every variant is trained for the same number of steps on the same stream of examples, and judged on a simulated sample and on
the labelled real BOSS/eBOSS quasars, one spectrum per object.

    python benchmarks/ablations.py --data DIRECTORY [--steps 400] [--variants base no-ivar ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch
from realism import real_quasars
from torch import nn

from specz_cnn.models.losses import point_estimate
from specz_cnn.models.preprocess import standardise
from specz_cnn.training.loop import redshift_metrics
from specz_cnn.training.recipe import build_trainer, read_recipe


class _FluxOnly(nn.Module):
    """A network that is shown no inverse variance."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x * torch.tensor([1.0, 0.0]).view(1, 2, 1))


def _with(recipe, *, grid=None, bins=None, arguments=None, simulation=None, training=None):
    model = dict(recipe.model)
    model["grid"] = {**model.get("grid", {}), **(grid or {})}
    model["arguments"] = {**model.get("arguments", {}), **(arguments or {})}
    model["bins"] = bins or model["bins"]
    changed = replace(recipe.simulation, **(simulation or {}))
    return replace(recipe, model=model, simulation=changed, training={**recipe.training, **(training or {})})


VARIANTS = {
    "base": {},
    "no-ivar": {"flux_only": True},
    "one-template": {"arguments": {"n_templates": 1}},
    "narrow": {"arguments": {"channels": [12, 16, 8]}},
    "coarse-bins": {
        "grid": {"factor": 8, "n_pixels": 606},
        "bins": {"n": 1136, "step": 8e-4 * np.log(10)},
        "arguments": {"n_pixels": 606, "n_bins": 1136, "kernels": [11, 7, 5]},
    },
    "archetypes-only": {"simulation": {"recipe_weights": (0.0, 1.0, 0.0)}},
    "parametric-only": {"simulation": {"recipe_weights": (0.0, 0.0, 1.0)}},
    "plain-lines": {"simulation": {"extra_lines": False, "tilt": False, "bal": False}},
    "ideal-observation": {
        "simulation": {
            "flux_calibration": False,
            "sky_residuals": False,
            "cosmic_rays": False,
            "masked_runs": False,
        }
    },
}


def train_and_judge(name, args):
    """Train one variant; print a row."""
    changes = dict(VARIANTS[name])
    flux_only = changes.pop("flux_only", False)
    recipe = _with(
        read_recipe("rnet-e"),
        **changes,
        training={"steps": args.steps, "cycles": [], "checkpoint_every": 10**9},
    )
    # All variants are judged on the same simulation, that of the base.
    with tempfile.TemporaryDirectory() as directory:
        trainer = build_trainer(recipe, args.data, directory)
        if flux_only:
            trainer.network, trainer.averaged = _FluxOnly(trainer.network), _FluxOnly(trainer.averaged)
        started = time.perf_counter()
        trainer.run()
        seconds = time.perf_counter() - started
        step = recipe.model["bins"]["step"]
        base = build_trainer(
            _with(read_recipe("rnet-e"), grid=changes.get("grid"), arguments=changes.get("arguments")),
            args.data,
            directory,
        )
        simulated = trainer.evaluate(base.validation["simulated"])
    flux, ivar, z, _ = real_quasars(f"{args.data}/dev_spectra.npz", recipe.grid)
    with torch.inference_mode():
        output = torch.cat([trainer.averaged(x) for x in standardise(flux, ivar).split(64)])
    real = redshift_metrics(point_estimate(output, step=step).double().numpy(), z.double().numpy())
    print(
        f"{name:18s} {simulated['within_600']:6.3f} {simulated['within_3000']:6.3f} {simulated['nmad']:5.0f}   "
        f"{real['within_600']:6.3f} {real['within_3000']:6.3f} {real['nmad']:5.0f} {real['bias']:5.0f}   {seconds:5.0f} s",
        flush=True,
    )


def main():
    """Run the variants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    print(
        f"{args.steps} steps of 128 spectra; fractions within 600 and 3000 km/s, NMAD and bias in km/s",
        file=sys.stderr,
    )
    print(f"{'variant':18s} {'simulated':>20s}   {'real BOSS quasars':>26s}", flush=True)
    for name in args.variants:
        train_and_judge(name, args)


if __name__ == "__main__":
    main()
