"""FITS tables."""

from __future__ import annotations

import io
import re

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from specz_cnn.io.tables.packed import unpacked
from specz_cnn.io.tables.words import ESCAPED, as_text, escape, escaped_where_needed, unescape, wanted

__all__ = ["FitsColumns", "read_fits", "write_fits"]

#: Keywords of eight characters in place of keys of ``meta`` that are longer.
_KEYWORDS = {
    "model_sha256": "MODELSHA",
    "cross_check": "CHECK",
    "cross_check_sha256": "CHECKSHA",
    "convention": "CONVENTI",
    "measurement": "MEASUREM",
    "data_release": "DATA_REL",
}
# Texts that FITS holds and that come back as they were: printable ASCII without blanks at the end.
_HARMLESS = re.compile(r"([ -~]*[!-~])?")
_BEGIN, _END = (f"--{word}-ASTROPY-SERIALIZED-COLUMNS--" for word in ("BEGIN", "END"))


class FitsColumns:
    """The first table of a FITS file; its columns are read when they are asked for.

    DR16Q has 183 columns for 750,414 quasars, of which a dozen are needed.

    Parameters
    ----------
    path : path-like
        Perhaps compressed.
    """

    def __init__(self, path):
        with unpacked(path) as stream:
            packed = not isinstance(stream, io.BufferedReader)
            source = io.BytesIO(stream.read()) if packed else path
        with fits.open(source, memmap=not packed) as hdulist:
            kinds = (fits.BinTableHDU, fits.TableHDU)
            hdu = next((hdu for hdu in hdulist if isinstance(hdu, kinds)), None)
            if hdu is None:
                raise ValueError("holds no table")
            self._data, header = hdu.data, hdu.header
            # Not the definitions themselves: while they are kept, astropy copies all columns when the data go.
            self._definitions = {column.name: (column.unit, column.null) for column in hdu.columns}
        self.colnames = list(self._definitions)
        self.meta, self._described = _meta(header)
        self._escaped = self.meta.pop(ESCAPED, False)

    def __len__(self):
        return 0 if self._data is None else len(self._data)

    def __getitem__(self, name):
        unit, null = self._definitions[name]
        values = np.asarray(self._data[name])
        if values.dtype.kind not in "OU":
            values = values.astype(values.dtype.newbyteorder("="))
        elif self._escaped and values.dtype.kind == "U":
            values = np.array([unescape(text) for text in values.flat], dtype=str).reshape(values.shape)
        if null is None or values.dtype.kind not in "iu" or not (values == null).any():
            column = Column(values)
        else:
            column = MaskedColumn(values, mask=values == null)
        if unit:
            column.unit = u.Unit(unit, format="fits", parse_strict="silent")
        described = self._described.get(name, {})
        column.description, column.format = described.get("description"), described.get("format")
        return column

    def read(self, columns=None):
        """The table, or some of its columns."""
        return Table({name: self[name] for name in wanted(self.colnames, columns)}, meta=self.meta)


def _meta(header):
    """Keys that are not the table's structure, under the names they had; and what astropy says about the columns."""
    from astropy.io.fits.connect import REMOVE_KEYWORDS, is_column_keyword
    from astropy.table import meta

    names = {keyword: key for key, keyword in _KEYWORDS.items()}
    found = {}
    for key, value in header.items():
        if key not in ("COMMENT", "HISTORY", "", *REMOVE_KEYWORDS) and not is_column_keyword(key):
            found[names.get(key, key.lower())] = None if isinstance(value, fits.card.Undefined) else value
    comments = [str(line) for line in header.get("COMMENT", [])]
    described = {}
    if _BEGIN in comments and _END in comments:
        # A line that ends in a backslash goes on in the next one.
        text = "\n".join(comments[comments.index(_BEGIN) + 1 : comments.index(_END)]).replace("\\\n", "")
        entries = meta.get_header_from_yaml(text.splitlines())["datatype"]
        described = {entry["name"]: entry for entry in entries}
    return found, described


def read_fits(path, columns=None):
    """Read the first table of a FITS file, or only some of its columns."""
    return FitsColumns(path).read(columns)


def write_fits(table, stream):
    """Write a FITS table, with short keywords."""
    table = escaped_where_needed(table, _HARMLESS).copy(copy_data=False)
    keywords = {}
    for key, value in table.meta.items():
        keyword = _KEYWORDS.get(key) or re.sub(r"[^A-Z0-9_-]", "_", escape(str(key)).upper())[:8]
        while keyword in keywords:
            keyword = f"{keyword[:6]}_{len(keywords) % 10}"
        if not isinstance(value, bool | int | float | None):
            value = as_text(value)
            value = value if _HARMLESS.fullmatch(value) else escape(value)
        keywords[keyword] = value
    table.meta = keywords
    for name in table.colnames:
        column = table[name]
        if isinstance(column, MaskedColumn) and column.dtype.kind in "iu":
            table[name] = column.copy()
            table[name].fill_value = _unused(column)
    buffer = io.BytesIO()
    table.write(buffer, format="fits")
    stream.write(buffer.getbuffer())


def _unused(column):
    """An integer that the column does not hold, to stand for what is missing."""
    limits = np.iinfo(column.dtype)
    taken = set(np.asarray(column)[~np.ma.getmaskarray(column)].ravel().tolist())
    return next((value for value in (limits.min, limits.max, limits.max - 1) if value not in taken), 0)
