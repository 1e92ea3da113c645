"""``specz-cnn calibrate``: fit the calibration of a network to held-out spectra."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from specz_cnn.commands import UsageError

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
DATA is DIRECTORY[:WEIGHT[:PRECISION[:TRUSTED]]], a directory of shards, as written by `specz-cnn simulate --format shards`
or for training on real spectra. WEIGHT is how much all of it counts in probabilities, PRECISION (default: WEIGHT) in the
errors of redshifts that are right, TRUSTED (default: 0) in the last word on errors in each range of redshift, which should
be that of real spectra.

example:
  specz-cnn calibrate rnet-e.safetensors held-out-simulated:1:0.1 held-out-real:0.3:1:1 --check rnet-pz.safetensors \\
      -o calibrated.safetensors
"""


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    from argparse import RawDescriptionHelpFormatter

    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", help="weights file, or name of a packaged model")
    parser.add_argument(
        "data", nargs="+", metavar="DATA", help="labelled spectra that took no part in the training"
    )
    parser.add_argument(
        "--check", metavar="MODEL", help="cross-check model whose verdict enters the confidence"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="weights file to write (.safetensors)"
    )
    parser.add_argument("--tag", help="tag of the new weights (default: as before)")
    parser.add_argument(
        "--package", action="store_true", help="put the result among the packaged models, under its name"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if there is one)")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")


def run(args):
    """Fit the calibration and write the weights with it.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0.
    """
    import torch

    from specz_cnn.models.packaging import package_model
    from specz_cnn.training.calibrated import calibrate_weights

    # Activations that fade to denormal numbers would slow a CPU down tenfold.
    torch.set_flush_denormal(True)
    report = calibrate_weights(
        args.model,
        [_read(word) for word in args.data],
        args.output,
        check=args.check,
        tag=args.tag,
        device=args.device,
        batch_size=args.batch_size,
        data=[os.path.basename(word) for word in args.data],
    )
    for key, value in report.items():
        print(f"{key:>16} {value if value is None or isinstance(value, int) else format(value, '.4g')}")
    if args.package:
        _log.info("%s", package_model(args.output))
    return 0


def _read(word):
    """One set of spectra, with both kinds of weights."""
    from specz_cnn.training.calibrated import CalibrationSet
    from specz_cnn.training.shards import read_shards

    directory, *numbers = word.split(":")
    try:
        weight = float(numbers[0]) if numbers else 1.0
        precision = float(numbers[1]) if len(numbers) > 1 else weight
        trusted = float(numbers[2]) if len(numbers) > 2 else 0.0
        if len(numbers) > 3 or not min(weight, precision, trusted) >= 0:
            raise ValueError
    except ValueError:
        raise UsageError(f"DATA is DIRECTORY[:WEIGHT[:PRECISION[:TRUSTED]]], not {word!r}") from None
    if not (Path(directory) / "shards.json").is_file():
        raise UsageError(f"{directory} is no directory of shards")
    return CalibrationSet(*read_shards(directory), weight, precision, trusted)
