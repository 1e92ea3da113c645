"""The subcommands of ``specz-cnn``, one module each.

A module offers ``add_arguments(parser)`` and ``run(args)``, which returns the exit status: 0, or 1 if some rows
failed.  It is imported only when its command is asked for.
"""

from __future__ import annotations

__all__ = ["UsageError", "check_output"]


class UsageError(Exception):
    """The command line asks for something that makes no sense; its message is shown and the exit status is 2."""


def check_output(output):
    """Find out before the work that its result cannot be written.

    Raises
    ------
    UsageError
        If there is no such kind of table or directory, or it must not be written to.
    """
    import os
    from pathlib import Path

    from specz_cnn.results.tables import table_format

    try:
        table_format(output)
    except ValueError as error:
        raise UsageError(str(error)) from None
    directory = Path(output).absolute().parent
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}")
    if not os.access(directory, os.W_OK):
        raise UsageError(f"cannot write into {directory}")
