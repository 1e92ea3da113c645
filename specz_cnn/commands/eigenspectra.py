"""``specz-cnn eigenspectra``: learn the eigenspectra that redshifts are measured with."""

from __future__ import annotations

import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    parser.add_argument(
        "--data", required=True, help="directory with templates/, statistics/ and the noise file"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write (.npz)")
    parser.add_argument("--recipe", metavar="FILE", help="recipe (TOML; default: the packaged one)")
    parser.add_argument("--seed", type=int, help="another seed than the recipe's")


def run(args):
    """Learn and write.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0.
    """
    import torch

    from specz_cnn.redshift.eigenspectra import write_eigenspectra
    from specz_cnn.training.eigenspectra import learn, read_settings

    # Activations that fade to denormal numbers would slow a CPU down tenfold.
    torch.set_flush_denormal(True)
    settings = read_settings(args.recipe)
    if args.seed is not None:
        settings["seed"] = args.seed
    found = learn(args.data, settings, progress=lambda line: print(line, file=sys.stderr, flush=True))
    write_eigenspectra(args.output, *found)
    print(args.output)
    return 0
