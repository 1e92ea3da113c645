"""Names of spectra as people hand them over: words, files of names, tables, standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from astropy.table import Table

from specz_cnn.io.csv_tables import read_csv
from specz_cnn.sdss.ids import iter_specids

__all__ = ["read_ids", "read_table"]

_TABLES = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
    ".vot": "votable",
}


def read_ids(words):
    """Names of spectra from words of a command line.

    Parameters
    ----------
    words : list of str
        Each is a name as in :meth:`SpecID.parse`; or a table (ECSV, CSV, FITS, Parquet, VOTable) as in
        :meth:`SpecID.from_table`; or a text file with one name a line, where ``#`` starts a comment; or ``-`` for
        such a text, or an ECSV table, on standard input.

    Returns
    -------
    list of SpecID, ValueError or TypeError
        Errors stand for what names no spectrum.

    Raises
    ------
    ValueError
        If a table cannot be read, or does not name spectra.
    """
    names = []
    for word in words:
        if word == "-":
            names += _read_text(sys.stdin.read(), "standard input")
        elif _is_file_of_names(word):
            path = Path(word)
            is_table = path.suffix.lower() in _TABLES
            names += iter_specids(read_table(path)) if is_table else _read_text(path.read_text(), word)
        else:
            names += iter_specids(word)
    return names


def _is_file_of_names(word):
    """Whether a word is a file with names in it, and not the name of one spectrum that happens to be a file."""
    (name,) = iter_specids(word)
    return isinstance(name, Exception) and Path(word).is_file()


def _read_text(text, origin):
    if text.startswith("# %ECSV"):
        return list(iter_specids(_read(text, "ascii.ecsv", origin)))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return list(iter_specids(line for line in lines if line))


def read_table(path):
    """Read a table in the format of its extension.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() not in _TABLES:
        raise ValueError(f"{path}: tables are read from {', '.join(_TABLES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix.lower() == ".csv":
        return read_csv(path)
    return _read(path, _TABLES[path.suffix.lower()], path)


def _read(source, name, origin):
    try:
        return Table.read(source, format=name)
    except Exception as error:
        raise ValueError(f"{origin}: cannot be read as a table: {error}") from error
