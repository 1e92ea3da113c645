"""Where commands write their tables: a file that may be replaced, or standard output."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

from specz_cnn.commands import UsageError

__all__ = ["STDOUT_FORMATS", "add_overwrite", "check_output", "write_output"]

#: Formats of a table on standard output.
STDOUT_FORMATS = ("ecsv", "csv", "json", "jsonl")

_log = logging.getLogger(__name__)


def add_overwrite(parser):
    """Add ``--overwrite``.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the output even if it is another kind of file"
    )


def check_output(output, columns=(), *, overwrite=False):
    """Find out before the work that its result cannot be written, or would destroy something else.

    A table with the same columns is the result of an earlier run, which a new one replaces.

    Parameters
    ----------
    output : path-like
        ``-`` is standard output.
    columns : collection of str, optional
        Columns by which a table of the same kind is known.
    overwrite : bool, optional

    Raises
    ------
    UsageError
        If the format is unknown, the directory is not there or cannot be written, or another kind of file is there.
    """
    from specz_cnn.io.tables import table_format

    if os.fspath(output) == "-":
        return
    try:
        table_format(output)
    except ValueError as error:
        raise UsageError(str(error)) from None
    path = Path(output).absolute()
    if not path.parent.is_dir():
        raise UsageError(f"no such directory: {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write into {path.parent}")
    if path.exists() and not overwrite and not set(columns) <= _columns_of(path):
        raise UsageError(f"{output} exists, and is no table of the same kind: --overwrite replaces it")


def _columns_of(path):
    """Names of the columns of a table; none if it cannot be read as one."""
    from specz_cnn.io.tables import open_table

    try:
        return {name.lower() for name in open_table(path).colnames}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no table of ours
        _log.debug("%s: %s", path, error)
        return set()


def write_output(table, output, *, format=None):
    """Write a table to a file, or to standard output.

    Parameters
    ----------
    table : `~astropy.table.Table`
    output : path-like
        ``-`` is standard output.
    format : str, optional
        One of `STDOUT_FORMATS`, for standard output; ECSV if not given.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from specz_cnn.io.tables import write_rows, write_table

    if os.fspath(output) != "-":
        write_table(table, output)
        _log.info("%d rows in %s", len(table), output)
    else:
        stream = io.BytesIO()
        write_rows(table, stream, format or "ecsv")
        sys.stdout.write(stream.getvalue().decode())
