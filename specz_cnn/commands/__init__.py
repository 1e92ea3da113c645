"""The subcommands of ``specz-cnn``, one module each.

A module offers ``add_arguments(parser)`` and ``run(args)``, which returns an exit status.  It is imported only when its
command is asked for.  What a command has to say, apart from its result on standard output, goes through `logging`
(``specz_cnn.commands.*``), which the command line shows on standard error.
"""

from __future__ import annotations

import glob
import os

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "PARTLY",
    "USAGE",
    "UsageError",
    "add_reference_arguments",
    "existing",
    "existing_paths",
    "hide_progress",
    "status_of",
]

#: Exit statuses: all is well; nothing could be done, or a crash; the command line makes no sense; some rows failed.
OK, FAILED, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(Exception):
    """The command line asks for something that makes no sense; its message is shown and the exit status is 2."""


def existing(path, *, pattern=False):
    """A path that a user has named, or an error before any work is done.

    Parameters
    ----------
    path : path-like
    pattern : bool, optional
        Whether it may be a pattern such as ``spectra/*.fits``, for which there must be a file.

    Returns
    -------
    path-like
        As given.

    Raises
    ------
    UsageError
        If nothing is there.
    """
    if not os.path.exists(os.path.expanduser(path)):
        if not (pattern and glob.has_magic(os.fspath(path))):
            raise UsageError(f"no such file or directory: {path}")
        if not any(glob.iglob(os.path.expanduser(path), recursive=True)):
            raise UsageError(f"no files match: {path}")
    return path


def existing_paths(paths):
    """As `existing` for files, directories and patterns; ``-`` and addresses are not looked for.

    Parameters
    ----------
    paths : iterable of str

    Raises
    ------
    UsageError
        If one of them is not there.
    """
    for path in paths:
        if path != "-" and "://" not in path:
            existing(path, pattern=True)


def hide_progress(args):
    """``disable`` of a tqdm bar: shown on a terminal, unless the user wants quiet."""
    return True if args.quiet else None


def add_reference_arguments(parser):
    """Which references redshifts are held against: half of the objects, least trust, column.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    parser.add_argument(
        "--split",
        choices=["all", "calibration", "validation"],
        default="all",
        help="half of the objects: calibrations are fitted to one, judged on the other (default: %(default)s)",
    )
    parser.add_argument(
        "--min-trust",
        type=int,
        default=2,
        metavar="N",
        help="least trust in a reference: 3 visual, 2 confirmed, 1 not confirmed (default: %(default)s)",
    )
    parser.add_argument("--truth", metavar="COLUMN", help="take the reference redshift from this column")


def status_of(n_failed, n):
    """Exit status of a command of which so many of so many rows failed."""
    if not n_failed:
        return OK
    return PARTLY if n_failed < n else FAILED
