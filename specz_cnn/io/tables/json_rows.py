"""Tables as JSON: one document, or one line for each row."""

from __future__ import annotations

import json
import math

import numpy as np
from astropy.table import MaskedColumn, Table

from specz_cnn.io.tables.packed import read_text
from specz_cnn.io.tables.words import to_text

__all__ = ["plain", "read_json", "read_json_lines", "write_json", "write_json_lines"]


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
        value = np.ma.asarray(value) if np.ma.isMaskedArray(value) else np.asarray(value)
        return plain(value.tolist())
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _line(value):
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def _rows(table):
    columns = [plain(np.ma.asarray(column).tolist()) for column in table.itercols()]
    return (dict(zip(table.colnames, values, strict=True)) for values in zip(*columns, strict=True))


def _put(stream, text):
    # Halves of characters, which UTF-8 cannot hold, become what JSON, too, writes for them.
    stream.write(text.encode("utf-8", "backslashreplace"))


def write_json(table, stream):
    """Write one document: ``meta``, ``columns`` (names, types, units and descriptions) and ``rows``."""
    described = [
        {
            "name": column.info.name,
            "datatype": "string" if column.dtype.kind == "U" else column.dtype.name,
            **({"unit": str(column.unit)} if column.unit is not None else {}),
            **({"description": column.info.description} if column.info.description else {}),
        }
        for column in table.itercols()
    ]
    _put(stream, f'{{"meta": {_line(dict(table.meta))}, "columns": {_line(described)}, "rows": [')
    for number, row in enumerate(_rows(table)):
        _put(stream, (",\n" if number else "\n") + _line(row))
    _put(stream, "\n]}\n")


def write_json_lines(table, stream):
    """Write one line for each row, and nothing else."""
    for row in _rows(table):
        _put(stream, _line(row) + "\n")


def read_json(path, columns=None):
    """Read one document: ``rows`` with what `write_json` adds to them, or a list of objects."""
    document = json.loads(read_text(path))
    document = {"rows": document} if isinstance(document, list) else document
    if "rows" not in document:
        raise ValueError('no table: neither a list of objects nor a document with "rows"')
    table = _table(document["rows"], document.get("columns") or ())
    table.meta.update(document.get("meta") or {})
    return table


def read_json_lines(path, columns=None):
    """Read one object a line."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f", line {number}: {error}") from None
    return _table(rows, ())


def _table(rows, described):
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("no table: a row is no object")
    described = {entry["name"]: entry for entry in described}
    table = Table()
    for name in described or dict.fromkeys(key for row in rows for key in row):
        entry = described.get(name, {})
        table[name] = _column([row.get(name) for row in rows], entry.get("datatype"))
        for key in ("unit", "description"):
            if entry.get(key):
                setattr(table[name].info, key, entry[key])
    return table


def _column(values, datatype):
    """Values of one column; without its type, numbers where all are, and NaN where there is nothing at all."""
    known = [value for value in values if value is not None]
    if datatype is None:
        kinds = {type(value) for value in known}
        if list in kinds:
            return np.array(values)
        if kinds <= {bool} and known:
            datatype = "bool"
        elif kinds <= {int} and known:
            datatype = "uint64" if max(known) >= 2**63 else "int64"
        else:
            datatype = "float64" if kinds <= {int, float} else "string"
    if datatype == "string":
        return np.array(["" if value is None else str(value) for value in values], dtype=str)
    kind = np.dtype(datatype)
    if len(known) == len(values):
        return np.array(values, dtype=kind)
    if kind.kind == "f":
        return np.array([np.nan if value is None else value for value in values], dtype=kind)
    filled = np.array([0 if value is None else value for value in values], dtype=kind)
    return MaskedColumn(filled, mask=[value is None for value in values])
