"""Tables as JSON: one document, or one line for each row."""

from __future__ import annotations

import json
import math

import numpy as np

__all__ = ["json_line", "plain", "write_json"]


def plain(value):
    """A value in types that JSON knows: numbers that are not finite, and masked ones, become None.

    Parameters
    ----------
    value : object
        Scalar, array, dict, list or tuple; a quantity loses its unit.

    Returns
    -------
    None, bool, int, float, str, list or dict
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is np.ma.masked:
        return None
    if isinstance(value, np.ndarray | np.generic):
        # Of a quantity the number; a masked entry of an array becomes None by itself.
        return plain(
            np.ma.asarray(value).tolist() if np.ma.isMaskedArray(value) else np.asarray(value).tolist()
        )
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_line(row):
    """A row, a dict, as one line of JSON."""
    return json.dumps(plain(row), ensure_ascii=False, allow_nan=False)


def write_json(table, stream, *, lines=False):
    """Write a table as JSON.

    Parameters
    ----------
    table : `~astropy.table.Table`
    stream : text file
    lines : bool, optional
        One line for each row, and nothing else, instead of one document with ``meta`` and ``rows``.
    """
    columns = [[plain(value) for value in _values(table[name])] for name in table.colnames]
    rows = (dict(zip(table.colnames, values, strict=True)) for values in zip(*columns, strict=True))
    if lines:
        for row in rows:
            stream.write(json_line(row) + "\n")
        return
    stream.write('{"meta": ' + json_line(dict(table.meta)) + ', "rows": [')
    for number, row in enumerate(rows):
        stream.write((",\n" if number else "\n") + json_line(row))
    stream.write("\n]}\n")


def _values(column):
    """The entries of a column as Python objects, None where masked."""
    return (
        np.ma.asarray(getattr(column, "value", column)).tolist()
        if hasattr(column, "mask")
        else (np.asarray(getattr(column, "value", column)).tolist())
    )
