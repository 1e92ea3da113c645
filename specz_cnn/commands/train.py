"""``specz-cnn train``: weights from a recipe."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

from specz_cnn.commands import UsageError


def add_arguments(parser):
    """Add the arguments of the command."""
    parser.add_argument(
        "recipe", help="recipe file (TOML), or the name of a packaged one: rnet-e, rnet-pz ..."
    )
    parser.add_argument(
        "--data",
        help="directory with templates/, statistics/ and the noise file (default: the compact bank of the package)",
    )
    parser.add_argument(
        "-o", "--output", required=True, help="run directory: checkpoint, log and finished weights"
    )
    parser.add_argument(
        "--spectra", help="directory of spec-lite files to train on besides simulated spectra"
    )
    parser.add_argument(
        "--catalogue", help="catalogue of --spectra: PLATE MJD FIBERID Z (DR16Q, for example)"
    )
    parser.add_argument(
        "--real-fraction",
        type=float,
        default=0.25,
        help="share of real spectra in each batch; 1 needs no templates (default: %(default)s)",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the objects of --catalogue that only judge the training (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--steps", type=int, help="train for this many steps instead of the recipe's")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="stop after this time; run again to continue"
    )
    parser.add_argument("--restart", action="store_true", help="ignore an existing checkpoint")


def run(args):
    """Train, or continue training."""
    import torch

    from specz_cnn.training.finish import save_weights
    from specz_cnn.training.recipe import build_trainer, read_recipe

    if (args.spectra is None) != (args.catalogue is None):
        raise UsageError("--spectra and --catalogue go together")
    if not 0 <= args.real_fraction <= 1:
        raise UsageError(f"--real-fraction must be between 0 and 1, not {args.real_fraction:g}")
    if not 0 <= args.held_out < 1:
        raise UsageError(f"--held-out must be at least 0 and below 1, not {args.held_out:g}")
    if args.threads:
        torch.set_num_threads(args.threads)
    # Activations that fade to denormal numbers would slow a CPU down tenfold.
    torch.set_flush_denormal(True)
    recipe = read_recipe(args.recipe)
    if args.steps:
        recipe = replace(recipe, training={**recipe.training, "steps": args.steps})
    if args.spectra:
        recipe = _with_real_spectra(recipe, args)
    trainer = build_trainer(recipe, args.data, args.output, device=args.device)
    if not args.restart and trainer.resume():
        print(f"continuing at step {trainer.step} of {trainer.steps}", file=sys.stderr)
    finished = trainer.run(progress=_progress(trainer), max_seconds=args.seconds)
    if not finished:
        print(f"stopped at step {trainer.step}; the same command continues", file=sys.stderr)
        return 0
    path = save_weights(trainer, recipe, Path(args.output))
    print(path)
    return 0


def _with_real_spectra(recipe, args):
    from specz_cnn.training.catalogue import build_shards, catalogue_rows, files_below
    from specz_cnn.training.objects import split_objects

    rows, locate = catalogue_rows(args.catalogue), files_below(args.spectra)
    part = split_objects(rows["object"], {"shards": 1 - args.held_out, "held-out": args.held_out})
    places = {}
    for name in ("shards", "held-out"):
        places[name] = str(Path(args.output) / name)
        counts = build_shards(locate, rows[part == name], places[name], recipe.grid)
        print(f"real spectra, {name}: {json.dumps(counts)}", file=sys.stderr)
    per_batch = round(args.real_fraction * recipe.training["batch_size"])
    simulation = recipe.simulation
    defaults = {"max_shift": 100, "max_dimming": 2.0, "z_min": simulation.z_min, "z_max": simulation.z_max}
    real = {**defaults, **recipe.real, "shards": places["shards"], "per_batch": per_batch}
    validation = (
        {"shards": places["held-out"], **recipe.validation} if args.held_out > 0 else recipe.validation
    )
    return replace(recipe, real=real, validation=validation)


def _progress(trainer):
    from tqdm import tqdm

    bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", disable=None, file=sys.stderr)

    def show(step, steps, loss):
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update(step - bar.n)
        if step == steps:
            bar.close()

    return show
