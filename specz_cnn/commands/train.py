"""``specz-cnn train``: weights from a recipe."""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from specz_cnn.commands import UsageError, existing, hide_progress

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  specz-cnn train rnet-z2.8-3.0 -o run --seconds 300
  specz-cnn train rnet-e --data DATA -o run
  specz-cnn train rnet-e --spectra DIR --catalogue DR16Q_v4.fits --real-fraction 1 -o run
  specz-cnn train rnet-e --dr16q DR16Q_v4.fits --z 2.8 3.0 --sample 20000 -o run --dry-run
  specz-cnn train rnet-e --start rnet-e --steps 300 --spectra mine --catalogue mine.csv -o run
  torchrun --nproc-per-node 4 -m specz_cnn train rnet-e --device cuda -o run

Every one of them can be stopped at any time; the same command continues.
"""


def add_arguments(parser):
    """Add the arguments of the command."""
    from argparse import RawDescriptionHelpFormatter

    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
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
    real = parser.add_argument_group("real spectra")
    real.add_argument("--spectra", help="directory of spec-lite files to train on besides simulated spectra")
    real.add_argument("--catalogue", help="catalogue of --spectra: PLATE MJD FIBERID Z (DR16Q, for example)")
    real.add_argument(
        "--real-fraction",
        type=float,
        help="share of real spectra in each batch; 1 needs no templates (default: 0.25, with --dr16q and --start 0.5)",
    )
    real.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the objects of --catalogue that only judge the training (default: %(default)s)",
    )
    survey = parser.add_argument_group(
        "a whole catalogue: download, shards, training, calibration, evaluation"
    )
    survey.add_argument("--dr16q", metavar="FILE", help="quasar catalogue: DR16Q_v4.fits, or one like it")
    survey.add_argument(
        "--z", nargs=2, type=float, metavar=("MIN", "MAX"), help="its quasars in this range only"
    )
    survey.add_argument("--sample", type=int, metavar="N", help="so many of its spectra")
    survey.add_argument("--sas", metavar="DIR", help="local mirror of the archive, in place of downloading")
    survey.add_argument("--discard", action="store_true", help="remove each file once it is in a shard")
    survey.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    tuning = parser.add_argument_group("fine-tuning")
    tuning.add_argument(
        "--start", metavar="MODEL", help="go on from these weights, with a small rate and early stopping"
    )
    tuning.add_argument(
        "--rate", type=float, help="peak learning rate (default: the recipe's; a tenth of it with --start)"
    )
    tuning.add_argument(
        "--patience",
        type=int,
        default=5,
        metavar="N",
        help="looks without improvement (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where accuracy allows")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--steps", type=int, help="train for this many steps instead of the recipe's")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="spectra in a batch instead of the recipe's"
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="stop after this time; run again to continue"
    )
    parser.add_argument("--restart", action="store_true", help="forget an existing checkpoint")


def run(args):
    """Train, or continue training."""
    _check(args)
    import torch

    from specz_cnn.training.recipe import read_recipe
    from specz_cnn.training.workers import join_workers

    if args.threads:
        torch.set_num_threads(args.threads)
    # Activations that fade to denormal numbers would slow a CPU down tenfold.
    torch.set_flush_denormal(True)
    recipe = read_recipe(args.recipe)
    changes = {
        "steps": args.steps,
        "batch_size": args.batch_size,
        "rate": args.rate,
        "bf16": args.bf16 or None,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    recipe = replace(recipe, training={**recipe.training, **changes})
    if args.start:
        from specz_cnn.training.finetune import fine_tuning

        recipe = fine_tuning(recipe, args.start, rate=args.rate)
    if args.dry_run:
        return _plan(recipe, args)
    workers = join_workers(args.device)
    try:
        return (_whole_catalogue if args.dr16q else _train)(recipe, args, workers)
    finally:
        workers.leave()


def _check(args):
    """Refuse what makes no sense, before anything is imported."""
    if (args.spectra is None) != (args.catalogue is None):
        raise UsageError("--spectra and --catalogue go together")
    if args.dr16q and args.spectra:
        raise UsageError("--dr16q finds its spectra itself; use --sas for a directory of them")
    if not args.dr16q and (args.z or args.sample or args.sas or args.discard or args.dry_run):
        raise UsageError("--z, --sample, --sas, --discard and --dry-run belong to --dr16q")
    if args.real_fraction is None:
        args.real_fraction = 0.5 if args.dr16q or args.start else 0.25
    if not 0 <= args.real_fraction <= 1:
        raise UsageError(f"--real-fraction must be between 0 and 1, not {args.real_fraction:g}")
    if not 0 <= args.held_out < (0.5 if args.start else 1):
        raise UsageError(
            f"--held-out must be at least 0 and below {0.5 if args.start else 1}, not {args.held_out:g}"
        )
    if args.sample is not None and args.sample < 10:
        raise UsageError(f"--sample must be at least 10, not {args.sample}")
    for path in (args.catalogue, args.dr16q, args.spectra, args.sas, args.data):
        if path is not None:
            existing(path)


def _train(recipe, args, workers):
    """Train a network, on real spectra too if there are any."""
    from specz_cnn.training.finish import save_weights
    from specz_cnn.training.loop import CHECKPOINT
    from specz_cnn.training.recipe import build_trainer

    if args.restart and workers.first:
        (Path(args.output) / CHECKPOINT).unlink(missing_ok=True)
    workers.wait()
    if args.spectra:
        recipe = _with_real_spectra(recipe, args, workers)
    trainer = build_trainer(recipe, args.data, args.output, device=args.device, workers=workers)
    if trainer.resume() and workers.first:
        _log.info("continuing at step %s of %s", trainer.step, trainer.steps)
    tuning = args.start and "real" in trainer.validation
    if tuning and workers.first:
        judge = _begin_tuning(trainer, recipe, args)
    finished = trainer.run(
        progress=_progress(trainer, args) if workers.first else None, max_seconds=args.seconds
    )
    if not workers.first:
        return 0
    if not finished:
        _log.info("stopped at step %s; the same command continues", trainer.step)
        if trainer.step:  # a checkpoint can be used as it is
            print(save_weights(trainer, recipe, Path(args.output)))
        return 0
    if tuning:
        judge()
    print(save_weights(trainer, recipe, Path(args.output)))
    return 0


def _begin_tuning(trainer, recipe, args):
    """Watch the training; the result judges it by spectra that neither trained nor stopped it."""
    from specz_cnn.io.whole import write_whole
    from specz_cnn.training.finetune import EarlyStop, compare_lines
    from specz_cnn.training.recipe import shard_examples

    stop = EarlyStop(trainer, "real", patience=args.patience)
    test = shard_examples(Path(args.output) / "held-out", recipe.architecture.preprocess, trainer.device)
    first = Path(args.output) / "before.json"
    if trainer.step == 0 or not first.exists():
        stop.begin()
        with write_whole(first) as part:
            part.write_text(json.dumps(trainer.evaluate(test) if len(test.z) else {}))

    def judge():
        stop.finish()
        step, loss = stop.best
        _log.info("best at step %s: loss %.3f of the spectra that stop the training", step, loss)
        if len(test.z):
            text = "\n".join(compare_lines(json.loads(first.read_text()), trainer.evaluate(test)))
            (Path(args.output) / "held-out.txt").write_text(text + "\n")
            _log.info("%s", text)

    return judge


def _with_real_spectra(recipe, args, workers):
    from specz_cnn.training.objects import split_objects
    from specz_cnn.training.real_shards import build_shards, catalogue_rows, files_below

    shares = {"shards": 1 - args.held_out, "held-out": args.held_out}
    if args.start:  # the spectra that stop a training cannot judge it as well
        shares = {"shards": 1 - 2 * args.held_out, "stopping": args.held_out, "held-out": args.held_out}
    places = {name: str(Path(args.output) / name) for name in shares}
    if workers.first:
        rows, locate = catalogue_rows(args.catalogue), files_below(args.spectra)
        part = split_objects(rows["object"], shares)
        for name, place in places.items():
            counts = build_shards(locate, rows[part == name], place, recipe.grid)
            _log.info("real spectra, %s: %s", name, json.dumps(counts))
    workers.wait()
    per_batch = round(args.real_fraction * recipe.training["batch_size"])
    simulation = recipe.simulation
    defaults = {"max_shift": 100, "max_dimming": 2.0, "z_min": simulation.z_min, "z_max": simulation.z_max}
    real = {**defaults, **recipe.real, "shards": places["shards"], "per_batch": per_batch}
    judges = places.get("stopping", places["held-out"])
    validation = {"shards": judges, **recipe.validation} if args.held_out > 0 else recipe.validation
    return replace(recipe, real=real, validation=validation)


def _survey(recipe, args, **options):
    from specz_cnn.training.survey_training import SurveyTraining

    return SurveyTraining(
        recipe,
        args.dr16q,
        args.output,
        z_range=tuple(args.z) if args.z else None,
        sample=args.sample,
        sas=args.sas,
        data=args.data,
        real_fraction=args.real_fraction,
        discard=args.discard,
        device=args.device,
        max_seconds=args.seconds,
        **options,
    )


def _whole_catalogue(recipe, args, workers):
    """All stages from a quasar catalogue to weights."""
    say = lambda line: _log.info("%s", line)
    path = _survey(
        recipe, args, workers=workers, say=say, progress=partial(_bar, disable=hide_progress(args))
    ).run()
    if path is not None and workers.first:
        print(path)
    return 0


def _plan(recipe, args):
    """Say what would be done, with the speed of this machine."""
    import time

    import torch

    from specz_cnn.training.sources import Examples

    network, n = recipe.build_network().to(args.device), recipe.training["batch_size"]
    objective = network.objective(bins=recipe.model.get("bins"), target=recipe.model.get("target"))
    flux = torch.randn(n, recipe.grid.n_pixels)
    x = recipe.architecture.preprocess(flux, torch.ones_like(flux)).to(args.device)
    examples = Examples(
        x, torch.full((n,), 2.0).to(args.device), torch.ones(n, dtype=torch.bool).to(args.device)
    )
    times = []
    for _ in range(2):
        started = time.perf_counter()
        objective.loss(network, examples).backward()
        times.append(time.perf_counter() - started)
    for line in _survey(recipe, args).plan(seconds_per_step=min(times)):
        print(line)
    return 0


def _bar(title, total, *, disable=None):
    """A progress line; gives a function that is called with the number done and, maybe, a note."""
    from tqdm import tqdm

    bar = tqdm(total=total, desc=title, disable=disable, file=sys.stderr)

    def show(done, note=None):
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show


def _progress(trainer, args):
    show = _bar("training", trainer.steps, disable=hide_progress(args))
    return lambda step, steps, loss: show(step, f"loss {loss:.3f}")
