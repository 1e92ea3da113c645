"""CSV tables as servers and spreadsheets write them: comment lines, byte-order marks, blank rows, ``null``."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

from astropy.table import Table

__all__ = ["read_csv"]

_UNKNOWN = ("", "null", "NULL", "None", "N/A", "--")


def read_csv(path):
    """Read a CSV table.

    Parameters
    ----------
    path : path-like
        Lines before the header that begin with ``#`` (SkyServer writes ``#Table1``), a byte-order mark, UTF-16 and rows
        without any content do not count.  Empty cells and ``null`` are masked.

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no table.
    """
    data = Path(path).read_bytes()
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8-sig", "replace").lstrip("\ufeff")
    lines = [line for line in text.splitlines() if line.strip(' ,;\t"')]
    while lines and lines[0].lstrip().startswith("#") and "," not in lines[0]:
        del lines[0]
    if not lines:
        raise ValueError(f"{path}: an empty table")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # integers of 64 bits without a sign stay text
            return Table.read(lines, format="ascii.csv", fill_values=[(value, "0") for value in _UNKNOWN])
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a table: {error}") from error
