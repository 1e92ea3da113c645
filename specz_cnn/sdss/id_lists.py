"""Names of spectra as people hand them over: words, files of names, tables, standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from specz_cnn.io.tables import is_table, parse_table, read_table, read_text
from specz_cnn.sdss.ids import iter_specids

__all__ = ["read_ids"]


def read_ids(words):
    """Names of spectra from words of a command line.

    Parameters
    ----------
    words : list of str
        Each is a name as in :meth:`SpecID.parse`; or a table, of any format that `~specz_cnn.io.tables.read_table` knows,
        as in :meth:`SpecID.from_table`; or a text file with one name a line, where ``#`` starts a comment; or ``-`` for
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
            names += iter_specids(read_table(word)) if is_table(word) else _read_text(read_text(word), word)
        else:
            names += iter_specids(word)
    return names


def _is_file_of_names(word):
    """Whether a word is a file with names in it, and not the name of one spectrum that happens to be a file."""
    (name,) = iter_specids(word)
    return isinstance(name, Exception) and Path(word).is_file()


def _read_text(text, origin):
    if text.startswith("# %ECSV"):
        return list(iter_specids(parse_table(text, origin)))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return list(iter_specids(line for line in lines if line))
