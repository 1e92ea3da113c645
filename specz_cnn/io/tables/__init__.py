"""Tables in and out: ECSV, CSV, FITS, Parquet, VOTable and JSON, with one map of suffixes.

What `write_table` writes, `read_table` gives back with the types it had, and other programs can read.  What other
programs write is read as it comes: with a byte-order mark, in UTF-16, under SkyServer's ``#Table1``, with commented
lines, blank rows, ``null``, and identifiers that a spreadsheet has made into 3586.0.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import vstack

from specz_cnn.io.tables.fits import FitsColumns, read_fits, write_fits
from specz_cnn.io.tables.json_rows import (
    plain,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
)
from specz_cnn.io.tables.packed import COMPRESSIONS, packing, read_text, text_encoding
from specz_cnn.io.tables.parquet import arrays_of_parquet, count_parquet, read_parquet, write_parquet
from specz_cnn.io.tables.text_tables import parse, read_csv, read_ecsv, write_csv, write_ecsv
from specz_cnn.io.tables.votable import read_votable, write_votable
from specz_cnn.io.tables.words import plain_columns, tidy, to_text, wanted
from specz_cnn.io.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any, BinaryIO

    from astropy.table import Table

    from specz_cnn.typing import PathLike

__all__ = [
    "TABLE_SUFFIXES",
    "count_rows",
    "is_table",
    "open_table",
    "parse_table",
    "plain",
    "read_arrays",
    "read_table",
    "read_text",
    "table_format",
    "text_encoding",
    "to_text",
    "write_rows",
    "write_table",
]

#: Suffix of a file: kind of table.  Each may be followed by that of a compression.
TABLE_SUFFIXES = {
    ".ecsv": "ecsv",
    ".csv": "csv",
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
    ".vot": "votable",
    ".xml": "votable",
    ".json": "json",
    ".jsonl": "jsonl",
}
_READERS = {
    "ecsv": read_ecsv,
    "csv": read_csv,
    "fits": read_fits,
    "parquet": read_parquet,
    "votable": read_votable,
    "json": read_json,
    "jsonl": read_json_lines,
}
_WRITERS = {
    "ecsv": write_ecsv,
    "csv": write_csv,
    "fits": write_fits,
    "parquet": write_parquet,
    "votable": write_votable,
    "json": write_json,
    "jsonl": write_json_lines,
}


def _suffix(path):
    """The suffix that tells the kind of table, in lower case."""
    name = Path(path).name.lower()
    packed = next((suffix for suffix in COMPRESSIONS if name.endswith(suffix)), "")
    return Path(name.removesuffix(packed)).suffix


def is_table(path: PathLike) -> bool:
    """Whether a name is that of a table."""
    return _suffix(path) in TABLE_SUFFIXES


def table_format(path: PathLike) -> str:
    """Kind of table that belongs to the suffix of a name.

    Returns
    -------
    {"ecsv", "csv", "fits", "parquet", "votable", "json", "jsonl"}

    Raises
    ------
    ValueError
        If there is none.
    """
    if not is_table(path):
        known = ", ".join(TABLE_SUFFIXES)
        raise ValueError(f"{path}: unknown kind of table; known are {known}, each also with .gz")
    return TABLE_SUFFIXES[_suffix(path)]


def read_table(
    path: PathLike, *, columns: Collection[str] | None = None, text: Collection[str] = ()
) -> Table:
    """Read a table; its kind follows from the name.

    Parameters
    ----------
    path : path-like
        ECSV, CSV, FITS (the first table), Parquet, VOTable or JSON, perhaps compressed; or a directory with the parts,
        ``part-*``, of a survey.
    columns : collection of str, optional
        Read these, in any case, where they are there; all if not given.
    text : collection of str, optional
        Columns that hold text, whatever it looks like: CSV from elsewhere does not say that ``007`` is no number.

    Returns
    -------
    `~astropy.table.Table`
        Text is `str`, empty where there is none; missing floats are NaN; missing integers are masked.  Plate, MJD and
        fibre are integers even where the file has 3586.0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the name has none of the known endings, or the file is not what its name says; the message is one line with
        the file and, where it can be told, the line.
    """
    path = Path(path)
    if path.is_dir():
        parts = [read_table(part, columns=columns, text=text) for part in sorted(path.glob("part-*"))]
        if not parts:
            raise ValueError(f"{path} holds no tables named part-*")
        return vstack(parts, metadata_conflicts="silent")
    kind = table_format(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with _one_line(path):
        table = read_csv(path, columns, text) if kind == "csv" else _READERS[kind](path, columns)
        return tidy(table if columns is None else table[wanted(table.colnames, columns)])


def open_table(path: PathLike) -> Any:
    """As `read_table`, but of a FITS file the columns are read when they are asked for.

    Returns
    -------
    object
        With ``colnames``, ``meta``, a length, and columns by name.
    """
    if not Path(path).is_file() or table_format(path) != "fits":
        return read_table(path)
    with _one_line(path):
        return FitsColumns(path)


def read_arrays(path: PathLike, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Columns of a table as plain arrays, for tables so large that `read_table` would copy too much.

    Parameters
    ----------
    path : path-like
    names : sequence of str, optional
        All columns if not given.

    Returns
    -------
    dict of str to `~numpy.ndarray`
        Text from Parquet is that of Python objects.
    """
    with _one_line(path):
        if table_format(path) == "parquet":
            return arrays_of_parquet(path, names)
        table = read_table(path, columns=names)
        return {name: np.asarray(table[name]) for name in names or table.colnames}


def count_rows(path: PathLike) -> int:
    """Number of rows of a table in a file, without reading more than needed."""
    with _one_line(path):
        return count_parquet(path) if table_format(path) == "parquet" else len(open_table(path))


def parse_table(text: str, origin: PathLike) -> Table:
    """A table from the text of an ECSV or CSV file.

    Parameters
    ----------
    text : str
    origin : path-like
        For messages.

    Returns
    -------
    `~astropy.table.Table`
        As from `read_table`.
    """
    with _one_line(origin):
        return tidy(parse(text))


@contextmanager
def _one_line(origin):
    """Whatever goes wrong in reading is told in one line that begins with the file."""
    try:
        with warnings.catch_warnings():
            # Units and names that offend against a standard are not the reader's concern.
            warnings.simplefilter("ignore")
            yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        where = "" if words.startswith(", ") else ": cannot be read as a table: "
        raise ValueError(f"{origin}{where}{words}") from error


def write_table(table: Table, path: PathLike) -> None:
    """Write a table in the format of the suffix: ECSV, CSV, FITS, Parquet, VOTable or JSON, compressed if it says so.

    The file appears whole or not at all, and replaces one that is there.  Numbers are written in full in every format;
    in CSV, text and the names of its columns stand in quotes.

    Parameters
    ----------
    table : `~astropy.table.Table`
    path : path-like

    Raises
    ------
    ValueError
        If the suffix is none of these, or the format cannot hold a column.
    OSError
        If it cannot be written.
    """
    kind = table_format(path)
    with write_whole(path) as part, packing(part) as stream:
        write_rows(table, stream, kind)


def write_rows(table: Table, stream: BinaryIO, kind: str) -> None:
    """Write a table into an open binary file.

    Parameters
    ----------
    table : `~astropy.table.Table`
    stream : binary file
    kind : str
        As from `table_format`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units and keys that a format does not know
        _WRITERS[kind](plain_columns(table), stream)
