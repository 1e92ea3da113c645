"""``specz-cnn calibrate``: fit the calibration of a network to held-out spectra."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from specz_cnn.commands import UsageError

__all__ = ["add_arguments", "run"]

_EPILOG = """\
DATA is DIRECTORY[:WEIGHT[:PRECISION]], a directory of shards, as written by `specz-cnn simulate --format shards` or for
training on real spectra. WEIGHT is how much all of it counts in probabilities, PRECISION (default: WEIGHT) in the errors
of redshifts that are right.

example:
  specz-cnn calibrate rnet-e.safetensors held-out-simulated:1:0.1 held-out-real:0.3:1 --check rnet-pz.safetensors \\
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
    import json
    from dataclasses import replace

    import numpy as np

    from specz_cnn.models.output import resolve_device
    from specz_cnn.models.registry import load_model, package_model, save_model
    from specz_cnn.redshift.calibration import calibrate
    from specz_cnn.redshift.posterior import posterior

    sets = [_read(word) for word in args.data]
    flux, ivar, labels, weights, precision = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    device = resolve_device(args.device)
    network = load_model(args.model, device=device)
    info = network.info
    output = _outputs(network, flux, ivar, args.batch_size)
    z_check, check = None, ""
    if args.check:
        other = load_model(args.check, device=device)
        check = other.info.name
        found = _outputs(other, flux, ivar, args.batch_size)
        z_check = posterior(found, bins=other.info.bins, calibration=other.info.calibration).z
    calibration = calibrate(
        output,
        labels["z"].astype(np.float64),
        labels["is_quasar"],
        bins=info.bins,
        weights=weights,
        precision_weights=precision,
        z_check=z_check,
        check=check,
        z_range=info.z_range,
    )
    for key, value in calibration["report"].items():
        print(f"{key:>16} {value if value is None or isinstance(value, int) else format(value, '.4g')}")
    calibration["report"]["data"] = [os.path.basename(word) for word in args.data]
    info = replace(info, calibration=json.loads(json.dumps(calibration)), tag=args.tag or info.tag)
    save_model(args.output, network.cpu(), info)
    if args.package:
        print(package_model(args.output), file=sys.stderr)
    return 0


def _read(word):
    """Flux, ivar, labels and both kinds of weights of one set; weights of a set have the sum that was asked for."""
    import numpy as np

    from specz_cnn.training.shards import read_shards

    directory, *numbers = word.split(":")
    try:
        weight = float(numbers[0]) if numbers else 1.0
        precision = float(numbers[1]) if len(numbers) > 1 else weight
        if len(numbers) > 2 or not (weight >= 0 and precision >= 0):
            raise ValueError
    except ValueError:
        raise UsageError(f"DATA is DIRECTORY[:WEIGHT[:PRECISION]], not {word!r}") from None
    if not (Path(directory) / "shards.json").is_file():
        raise UsageError(f"{directory} is no directory of shards")
    flux, ivar, labels = read_shards(directory)
    share = labels["weight"] / np.maximum(labels["weight"].sum(), 1e-30)
    return flux, ivar, labels, weight * share, precision * share


def _outputs(network, flux, ivar, batch_size):
    """The network's output for all spectra."""
    import numpy as np
    from tqdm import tqdm

    from specz_cnn.models.output import network_output

    starts = tqdm(range(0, len(flux), batch_size), desc=network.info.name, disable=None, file=sys.stderr)
    return np.concatenate(
        [network_output(network, flux[i : i + batch_size], ivar[i : i + batch_size]) for i in starts]
    )
