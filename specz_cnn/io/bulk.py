"""Spectra by the million: arrays straight from the bytes of spec-lite files.

`astropy.io.fits` takes milliseconds to build its objects for a file of 0.2 MB; the bytes that matter are three columns
of one table and nine fields of one row.  Here the headers are scanned just far enough to find them.  Whatever is out of
the ordinary (compression, scaled columns, other data types, an unexpected order of HDUs, damage) is left to
:func:`~specz_cnn.io.read_arrays_astropy`, which either reads the file or says what is wrong with it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.io.bitmask import mask_bits
from specz_cnn.io.layout import (
    COADD_COLUMNS,
    IDENTITY_COLUMNS,
    SPECOBJ_COLUMNS,
    SpecLiteError,
    check_columns,
    check_regular,
    identity_from,
    make_arrays,
    read_arrays_astropy,
    to_text,
)

if TYPE_CHECKING:
    from specz_cnn.io.arrays import SpectrumArrays
    from specz_cnn.io.bitmask import MaskPolicy
    from specz_cnn.typing import PathLike

__all__ = ["read_arrays"]

_BLOCK, _CARD = 2880, 80
_END = b"END".ljust(_CARD)
#: The name and the sign of equality that cards with a value begin with.
_NAMES = np.dtype({"names": ["name"], "formats": ["S10"], "itemsize": _CARD})

# Lite files are smaller than this and are read in one go; of full files it holds all that is wanted.
_FIRST_READ = 1 << 18

# Bytes of an element by the letter of TFORM.  Variable-length columns (P, Q) and bits (X) are not for this reader.
_WIDTHS = {b"A": 1, b"B": 1, b"L": 1, b"I": 2, b"E": 4, b"J": 4, b"C": 8, b"D": 8, b"K": 8, b"M": 16}
_DTYPES = {b"D": ">f8", b"E": ">f4", b"I": ">i2", b"J": ">i4", b"K": ">i8"}

_PIXEL_COLUMNS = (*COADD_COLUMNS, "and_mask")
_WANTED = frozenset(name.encode() for name in (*_PIXEL_COLUMNS, *IDENTITY_COLUMNS))
_TABLE_KEYWORDS = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS")
_PRIMARY_KEYWORDS = ("PLATEID", "MJD", "FIBERID", "PLUG_RA", "PLUG_DEC")


# Value field of a card: an integer, a real number, a string without quotes inside, or nothing.
_VALUE = re.compile(
    rb" *(?:([+-]?\d+)|([+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?)|'([ -&(-~]*)')? *(?:/[ -~]*)?"
)
# Column numbers have three digits at most, so that keyword and number leave room for spaces or none.
# After the value come a comment or the next card; anything else is damage.
_COLUMN_CARD = re.compile(rb"T(TYPE|FORM)(\d{1,3}) *= *'([ -&(-~]*)'(?= *[/A-Z])")
_SCALE_CARD = re.compile(rb"T(?:SCAL|ZERO)(\d{1,3}) *=")
_FORM = re.compile(rb" *(\d*)([ABCDEIJKLM]) *")


class _Unusual(Exception):
    """The file is not laid out as almost all are."""


@dataclass(frozen=True)
class _Table:
    """A binary table, as far as its header tells."""

    row_bytes: int
    n_rows: int
    heap_bytes: int
    columns: dict[str, tuple[str, int]]  # lower-case name: numpy type, offset in the row
    dtypes: dict = field(default_factory=dict)  # those made so far

    @property
    def size(self):
        return self.row_bytes * self.n_rows + self.heap_bytes

    def dtype(self, names):
        """Structured type of those columns that the table has; ``names`` is a tuple."""
        if names not in self.dtypes:
            present = [name for name in names if name in self.columns]
            types = [self.columns[name] for name in present]
            self.dtypes[names] = np.dtype(
                {
                    "names": present,
                    "formats": [dtype for dtype, _ in types],
                    "offsets": [offset for _, offset in types],
                    "itemsize": self.row_bytes,
                }
            )
        return self.dtypes[names]


def read_arrays(
    path: PathLike, *, mask: MaskPolicy | int = "default", pipeline: bool = True
) -> SpectrumArrays:
    """Read the coadded spectrum of a spec or spec-lite file as plain arrays.

    The arrays are bit-identical to those of :func:`~specz_cnn.io.read_arrays_astropy`, many times faster for files
    laid out as the survey does it; for others that function does the work.

    Parameters
    ----------
    path : path-like
    mask : {"ivar", "default", "hard"} or int
        Mask policy, see :func:`~specz_cnn.io.bad_pixels`.
    pipeline : bool
        Whether to read the row of the survey's catalogue.  Without it, the redshift of the pipeline is unknown, and
        plate, MJD, fiber and position come from the primary header or the file's name.

    Returns
    -------
    SpectrumArrays

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        If the file is damaged or no spec-lite file.
    ValueError
        If there is no such mask policy.
    """
    mask = mask_bits(mask)
    try:
        columns, header, row = _read_bytes(path, pipeline)
    except (FileNotFoundError, SpecLiteError):
        raise
    except (_Unusual, OSError):
        return read_arrays_astropy(path, mask=mask, pipeline=pipeline)
    check_columns(columns, path)
    return make_arrays(columns, identity_from(path, header, row), mask=mask)


def _read_bytes(path, pipeline):
    """Columns of the spectrum, primary header and catalogue row of a file of the usual layout."""
    check_regular(path)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, _FIRST_READ))
        if not data.startswith(b"SIMPLE  =                    T"):
            raise _Unusual
        primary_end = _header_end(data, 0)
        if not data[:primary_end].isascii():
            raise _Unusual
        naxis, *values = _card_values(data, ("NAXIS", *_PRIMARY_KEYWORDS), primary_end)
        header = dict(zip(_PRIMARY_KEYWORDS, values, strict=True))
        if naxis != 0:
            raise _Unusual
        table, start = _table_at(data, primary_end, COADD_COLUMNS)
        end = start + table.size
        if end > size or table.n_rows < 1 or table.columns.keys() >= set(SPECOBJ_COLUMNS):
            raise _Unusual
        if end > len(data):
            # The number of rows is credible: the file is long enough to hold them.
            data += file.read(end - len(data) + _FIRST_READ)
            if end > len(data):
                raise _Unusual
        rows = np.frombuffer(data, table.dtype(_PIXEL_COLUMNS), table.n_rows, start)
        row = _read_row(data, _next_block(end)) if pipeline else {}
    columns = {name: rows[name].astype(rows[name].dtype.newbyteorder("=")) for name in rows.dtype.names}
    return columns, header, row


def _read_row(data, start):
    """Fields of the catalogue row, whose HDU follows that of the spectrum."""
    table, start = _table_at(data, start, SPECOBJ_COLUMNS)
    if table.n_rows < 1 or start + table.size > len(data):
        raise _Unusual
    fields = np.frombuffer(data, table.dtype(IDENTITY_COLUMNS), 1, start)
    row = dict(zip(fields.dtype.names, fields[0].tolist(), strict=True))
    row["class"] = to_text(row["class"])
    return row


def _next_block(position):
    return -(-position // _BLOCK) * _BLOCK


def _header_end(data, start):
    """Position after the header that begins at a position."""
    position = data.find(_END, start)
    while position >= 0 and (position - start) % _CARD:
        position = data.find(_END, position + 1)  # the keyword was part of a comment
    if position < 0:
        raise _Unusual
    return start + _next_block(position + _CARD - start)


def _card_values(data, keywords, end):
    """Number, text or None for each keyword: the values of its first card in the header that begins the data."""
    names = np.frombuffer(data, _NAMES, min(end, len(data)) // _CARD)["name"].tolist()
    return [_card_value(data, names, keyword) for keyword in keywords]


def _card_value(data, names, keyword):
    try:
        position = _CARD * names.index(keyword.encode().ljust(8) + b"= ")
    except ValueError:
        return None
    match = _VALUE.fullmatch(data, position + 10, position + _CARD)
    if not match:
        raise _Unusual
    integer, real, text = match.groups()
    if text is not None:
        return to_text(text)
    if integer is not None:
        return int(integer)
    return None if real is None else float(real)


def _table_at(data, start, wanted):
    """The table whose header begins at a position, and where its data begin."""
    if not data.startswith(b"XTENSION= 'BINTABLE'", start):
        raise _Unusual
    end = _header_end(data, start)
    header = data[start:end]
    if not header.isascii():
        raise _Unusual
    table = _parse_table(header)
    if not all(name in table.columns for name in wanted):
        raise _Unusual
    return table, end


@lru_cache(maxsize=128)
def _parse_table(header):
    """Layout of a binary table.  Files of one plate share their headers, byte for byte, more often than not."""
    values = _card_values(header, _TABLE_KEYWORDS, len(header))
    bitpix, naxis, row_bytes, n_rows, heap_bytes, groups, n_columns = values
    sizes = (row_bytes, n_rows, heap_bytes, n_columns)
    if (bitpix, naxis, groups) != (8, 2, 1) or not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise _Unusual
    # The patterns do not know where cards begin.  Should one match inside a comment, the numbers below do not add up.
    cards = _COLUMN_CARD.findall(header)
    names = {digits: value for kind, digits, value in cards if kind == b"TYPE"}
    forms = {digits: value for kind, digits, value in cards if kind == b"FORM"}
    if not len(names) == len(forms) == n_columns or len(cards) != 2 * n_columns:
        raise _Unusual
    columns, width = _parse_columns(names, forms, set(_SCALE_CARD.findall(header)))
    if width != row_bytes:
        raise _Unusual
    return _Table(row_bytes, n_rows, heap_bytes, columns)


def _parse_columns(names, forms, scaled):
    """Type and offset of the columns that we may want, and the width of a row."""
    columns, offset = {}, 0
    for number in range(1, len(names) + 1):
        digits = b"%d" % number
        if digits not in names or digits not in forms:
            raise _Unusual
        letter, count = _parse_form(forms[digits])
        name = names[digits].strip().lower()
        if name in _WANTED:
            name = name.decode("ascii")
            if name in columns or digits in scaled:
                raise _Unusual
            if letter == b"A" and name == "class" and count > 0:
                columns[name] = f"S{count}", offset
            elif letter in _DTYPES and count == 1:
                columns[name] = _DTYPES[letter], offset
            else:
                raise _Unusual
        offset += count * _WIDTHS[letter]
    return columns, offset


@lru_cache(maxsize=512)
def _parse_form(form):
    """Letter and repeat count of a TFORM."""
    match = _FORM.fullmatch(form)
    if not match:
        raise _Unusual
    return match[2], int(match[1] or 1)
