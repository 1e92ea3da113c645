"""VOTables."""

from __future__ import annotations

import re

import numpy as np
from astropy.table import Column

from specz_cnn.io.tables.packed import unpacked
from specz_cnn.io.tables.words import as_text, escape, escaped_where_needed, unescaped

__all__ = ["read_votable", "write_votable"]

# Texts that XML holds and that come back as they were: no control characters, and no blanks at the ends.
_HARMLESS = re.compile(r"(?!\s)[ -~\xa0-\ud7ff\uf900-\ufffd]*(?<!\s)")


def read_votable(path, columns=None):
    """Read the first table of a VOTable document; its INFO elements are ``meta``."""
    from astropy.io.votable import parse

    with unpacked(path) as stream:
        document = parse(stream, verify="ignore")
    table = document.get_first_table().to_table(use_names_over_ids=True)
    table.meta = {info.name: info.value for resource in document.resources for info in resource.infos}
    return unescaped(table)


def write_votable(table, stream):
    """Write a VOTable document; ``meta`` becomes INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    table = escaped_where_needed(table, _HARMLESS).copy()
    for name in table.colnames:
        column = table[name]
        if (column.dtype.kind == "u" and column.dtype.itemsize > 1) or column.dtype == np.int8:
            table[name] = _signed(column)
        elif column.dtype == np.float16:
            table[name] = column.astype(np.float32)
    extra, table.meta = table.meta, {}
    document = from_table(table)
    for key, value in extra.items():
        value = as_text(value)
        plain = value if _HARMLESS.fullmatch(value) else escape(value)
        document.resources[0].infos.append(Info(name=str(key), value=plain))
    document.to_xml(stream)


def _signed(column):
    """Unsigned integers, which VOTable does not have, as signed ones that hold them, or as text."""
    if column.dtype.itemsize == 8 and len(column) and np.ma.max(column) > np.iinfo(np.int64).max:
        digits = [str(value) for value in np.ma.filled(column, 0).tolist()]
        return Column(digits, description=column.info.description)
    size = {1: np.int16, 2: np.int32, 4: np.int64, 8: np.int64}[column.dtype.itemsize]
    return column.astype(size)
