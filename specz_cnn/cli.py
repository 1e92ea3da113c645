"""The command line, ``specz-cnn COMMAND ...``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import ExitStack
from importlib import import_module

from specz_cnn.commands import FAILED, INTERRUPTED, OK, USAGE, UsageError
from specz_cnn.commands.logs import add_log_options, logging_to
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

_EPILOG = """\
specz-cnn COMMAND --help explains a command.

exit status:
  0  all is well
  1  nothing could be measured or found, or an error
  2  wrong usage, or a path that does not exist; nothing was done
  3  some spectra failed; the others are in the output
"""

_MESSAGES = {"quiet": False, "verbose": False, "log_file": None, "debug": False}

_log = logging.getLogger(__name__)


def _make_parser(command):
    """Parser of the whole command line, with the arguments of one command (importing the others would cost seconds)."""
    parser = argparse.ArgumentParser(
        prog="specz-cnn",
        description="Redshifts of quasar spectra with convolutional neural networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"specz-cnn {__version__}")
    add_log_options(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + "."
        )
        if name == command:
            module = import_module(f"specz_cnn.commands.{name}")
            module.add_arguments(subparser)
            add_log_options(subparser)
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
        Exit status: 0, 1 (nothing could be measured, or an error), 2 (usage), 3 (some rows failed), or 130 after
        Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _make_parser(_command_of(argv)).parse_args(argv)
    for name, value in _MESSAGES.items():
        vars(args).setdefault(name, value)
    with ExitStack() as stack:
        try:
            stack.enter_context(logging_to(quiet=args.quiet, verbose=args.verbose, log_file=args.log_file))
        except OSError as error:
            print(f"specz-cnn {args.command}: error: {error}", file=sys.stderr)
            return USAGE
        return _run(args, argv)


def _command_of(argv):
    """The first word that is no option, nor the value of one."""
    words = [word for previous, word in zip(["", *argv], argv, strict=False) if previous != "--log-file"]
    return next((word for word in words if not word.startswith("-")), None)


def _run(args, argv):
    """Run a command whose messages are seen to; its exit status."""
    _log.debug("specz-cnn %s: %s", __version__, " ".join(argv))
    try:
        status = args.run(args)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
        _log.debug("exit status %s", status)
        return status
    except BrokenPipeError:
        # The reader of our output has gone (`specz-cnn ... | head`): keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (UsageError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        if args.debug:
            raise
        _log.debug("%s", error, exc_info=True)
        print(f"specz-cnn {args.command}: error: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILED


if __name__ == "__main__":
    sys.exit(main())
