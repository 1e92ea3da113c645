"""``specz-cnn eigenspectra``: learn the eigenspectra that redshifts are measured with."""

from __future__ import annotations

import logging

from specz_cnn.commands import UsageError, existing

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    parser.add_argument("--data", help="directory with templates/, statistics/ and the noise file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file of eigenspectra (.npz)")
    parser.add_argument("--recipe", metavar="FILE", help="recipe (TOML; default: the packaged one)")
    parser.add_argument(
        "--pca",
        metavar="FILE",
        help="from eigenspectra that are there (--output), make weights of the estimator pca (.safetensors)",
    )
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
    if (args.data is None) == (args.pca is None):
        raise UsageError("give --data to learn, or --pca to make weights of what was learned")
    for path in (args.data, args.recipe, args.output if args.pca else None):
        if path is not None:
            existing(path)
    settings = _settings(args)
    if args.pca:
        from specz_cnn.training.eigenspectra import save_pca

        save_pca(args.pca, args.output, settings)
        print(args.pca)
        return 0
    import torch

    from specz_cnn.models.eigenspectra import write_eigenspectra
    from specz_cnn.training.eigenspectra import learn

    # Activations that fade to denormal numbers would slow a CPU down tenfold.
    torch.set_flush_denormal(True)
    found = learn(args.data, settings, progress=lambda line: _log.info("%s", line))
    write_eigenspectra(args.output, *found)
    print(args.output)
    return 0


def _settings(args):
    from specz_cnn.training.eigenspectra import read_settings

    settings = read_settings(args.recipe)
    if args.seed is not None:
        settings["seed"] = args.seed
    return settings
