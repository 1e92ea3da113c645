"""The command line, ``specz-cnn COMMAND ...``."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from specz_cnn.commands import UsageError
from specz_cnn.version import __version__

__all__ = ["COMMANDS", "main"]

#: Command: what it does.  The module ``specz_cnn.commands.<command>`` holds the rest.
COMMANDS = {
    "fit": "measure redshifts of spectrum files",
    "search": "find SDSS spectra around a position or by a condition",
    "download": "download SDSS spectra, in parallel and resumable",
    "evaluate": "compare measured redshifts with reference redshifts",
    "compare": "compare several systems on the same spectra",
    "plot": "draw spectra with their redshifts and probabilities",
    "inspect": "make a web page for the visual inspection of results",
    "models": "list the packaged networks, or show one",
    "simulate": "simulate labelled spectra",
    "templates": "fetch the public templates of the full simulation",
    "train": "train a network from a recipe",
    "eigenspectra": "learn the eigenspectra that redshifts are measured with",
    "calibrate": "fit the calibration of a network to labelled spectra",
}

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def _make_parser(command):
    """Parser of the whole command line, with the arguments of one command (importing the others would cost seconds)."""
    parser = argparse.ArgumentParser(
        prog="specz-cnn", description="Redshifts of quasar spectra with convolutional neural networks."
    )
    parser.add_argument("--version", action="version", version=f"specz-cnn {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + "."
        )
        if name == command:
            module = import_module(f"specz_cnn.commands.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv=None):
    """Run a command.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; ``sys.argv[1:]`` if not given.

    Returns
    -------
    int
        Exit status: 0, 1 (some rows failed, or an error) or 2 (usage).
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command = next((word for word in argv if not word.startswith("-")), None)
    args = _make_parser(command).parse_args(argv)
    try:
        status = args.run(args)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output has gone (`specz-cnn ... | head`): keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (UsageError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        if args.debug:
            raise
        print(f"specz-cnn {args.command}: error: {error}", file=sys.stderr)
        return _USAGE if isinstance(error, UsageError) else _FAILED


if __name__ == "__main__":
    sys.exit(main())
