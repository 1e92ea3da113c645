"""Texts and missing values in tables, in one form whatever the file."""

from __future__ import annotations

import json
import re

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

__all__ = [
    "ESCAPED",
    "as_text",
    "escape",
    "escaped_where_needed",
    "map_text",
    "plain_columns",
    "tidy",
    "to_text",
    "unescape",
    "unescaped",
    "utf8",
    "wanted",
]

# Columns that hold integers, whatever a spreadsheet has made of them.
_IDENTIFIERS = ("plate", "mjd", "fiber", "fiberid")
_INFO = ("unit", "format", "description", "meta")
#: Entry of ``meta`` of a table in which all text is escaped.
ESCAPED = "esctext"


def to_text(value):
    """Text of a cell, which may come as bytes, padded."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace").rstrip(" \0")
    return str(value)


def utf8(text):
    """Text in which what UTF-8 cannot hold (halves of characters) is escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_text(value):
    """An entry of ``meta`` as text."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)


def escape(text):
    """Text as printable ASCII without blanks at its ends, so that every format keeps it."""
    text = text.encode("unicode_escape").decode("ascii")
    return re.sub(r"^ | $", r"\\x20", text)


def escaped_where_needed(table, harmless):
    """The table as it is, if a pattern matches all its texts, else with every text escaped, and ``meta`` saying so.

    A path such as ``/home/José/`` must lead to the file again when the table is read from a format without this letter.
    """
    for column in table.itercols():
        if column.dtype.kind == "U" and not all(map(harmless.fullmatch, np.ma.filled(column, "").flat)):
            table = map_text(table, escape)
            table.meta[ESCAPED] = True
            break
    return table


def unescaped(table):
    """The table with the texts that it had before `escaped_where_needed`."""
    return map_text(table, unescape) if table.meta.pop(ESCAPED, False) else table


def unescape(text):
    """The text of which `escape` made this."""
    return text.encode("ascii", "replace").decode("unicode_escape")


def wanted(names, columns):
    """Those of the names that are asked for, in any case."""
    if columns is None:
        return list(names)
    lower = {name.lower() for name in columns}
    return [name for name in names if name.lower() in lower]


def map_text(table, change):
    """A table with all texts changed; columns that stay as they are are not copied."""
    table = table.copy(copy_data=False)
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "U":
            texts = np.ma.filled(column, "")
            changed = np.array([change(text) for text in texts.flat], dtype=str).reshape(texts.shape)
            if isinstance(column, MaskedColumn) or (changed != texts).any():
                table[name] = _like(column, changed)
    return table


def _like(column, values):
    """A column of other values with the unit and description of this one."""
    new = MaskedColumn(values) if isinstance(values, np.ma.MaskedArray) else Column(values)
    new.name = column.info.name
    for key in _INFO:
        setattr(new.info, key, getattr(column.info, key))
    return new


def plain_columns(table):
    """A table of plain columns: quantities as numbers with a unit, objects and bytes as text."""
    from astropy.table import serialize

    plain = Table(meta=dict(table.meta))
    for name in table.colnames:
        column = table[name]
        if isinstance(column, u.Quantity):
            missing = getattr(column, "mask", None)
            values = np.asarray(getattr(column, "unmasked", column).value)
            column = _like(column, values if missing is None else np.ma.masked_array(values, missing))
        elif isinstance(column, Column) and column.dtype.kind in "SO":
            column = _like(column, _texts_of(column))
        if isinstance(column, Column) and column.dtype.kind == "U" and column.dtype.itemsize == 0:
            column = column.astype("U1")
        plain[name] = column
    return serialize.represent_mixins_as_columns(plain)


def _texts_of(column):
    """Bytes or objects as texts, empty where there is nothing."""
    missing = np.ma.getmaskarray(column).ravel()
    values = np.asarray(column)
    texts = [
        "" if no or value is None else to_text(value)
        for value, no in zip(values.ravel().tolist(), missing, strict=True)
    ]
    return np.array(texts, dtype=str).reshape(values.shape)


def tidy(table):
    """Text is `str`, missing text empty, missing floats are NaN, and identifiers are integers; changed in place."""
    for name in table.colnames:
        column = table[name]
        if isinstance(column, Column):
            values = _tidy_values(column)
            if name.lower() in _IDENTIFIERS and values.dtype.kind == "f":
                values = _integers(values)
            if values is not column:
                table.replace_column(name, _like(column, values))
    return table


def _tidy_values(column):
    kind = column.dtype.kind
    if kind in "SO":
        return _texts_of(column)
    if not isinstance(column, MaskedColumn):
        return column
    missing, values = np.ma.getmaskarray(column), np.asarray(column)
    if not missing.any():
        return values
    blank = {"U": "", "f": np.nan}.get(kind)
    return column if blank is None else np.where(missing, np.array(blank, dtype=values.dtype), values)


def _integers(values):
    """Floats as integers, masked where they are NaN, if that is what they are; else as they are."""
    missing = np.isnan(values)
    numbers = np.where(missing, -1, np.asarray(values))
    if missing.all() or (numbers != np.round(numbers)).any() or (np.abs(numbers) >= 2**53).any():
        return values
    numbers = numbers.astype(np.int64)
    return np.ma.masked_array(numbers, missing) if missing.any() else numbers
