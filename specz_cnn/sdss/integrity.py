"""Is this a whole spec-lite file, and of the right spectrum?"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from specz_cnn.io import SpecLiteError

if TYPE_CHECKING:
    from typing import Any

    from specz_cnn.sdss.ids import SpecID

__all__ = ["check_spec_lite"]

_BLOCK, _CARD = 2880, 80
_COLUMNS = {"flux", "loglam", "ivar"}

# The keywords that are needed, of headers of hundreds of cards.
_KEYWORDS = (b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"TTYPE", b"PLATEID", b"MJD ", b"FIBERID")

# No header of a spectrum comes near this; a file that is all header must not be read to its end.
_MAX_HEADER_BLOCKS = 400


def check_spec_lite(file: Any, spec_id: SpecID) -> None:
    """Walk through the headers of a spec-lite file and check that all is there.

    The size is a multiple of the FITS block and exactly what the headers say; the first extension is a table with
    columns ``flux``, ``loglam`` and ``ivar`` and at least one row; plate, MJD and fibre of the primary header are those
    expected.  The data are skipped, not read.

    Parameters
    ----------
    file : bytes or path-like
    spec_id : SpecID

    Raises
    ------
    SpecLiteError
        If something is wrong; the message says what.
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(file, bytes):
        _check(BytesIO(file), len(file), "<download>", spec_id)
        return
    with Path(file).open("rb") as opened:
        _check(opened, os.fstat(opened.fileno()).st_size, file, spec_id)


def _check(file, size, name, spec_id):
    if not size:
        raise SpecLiteError(name, "empty")
    if file.read(9) != b"SIMPLE  =":
        raise SpecLiteError(name, "not a FITS file")
    if size % _BLOCK:
        raise SpecLiteError(name, f"truncated: {size} bytes are no whole number of FITS blocks")
    position, number = 0, 0
    while position < size:
        file.seek(position)
        header, n_blocks = _read_header(file, name)
        if number == 0:
            _check_identity(header, name, spec_id)
        elif number == 1:
            _check_columns(header, name)
        position += (n_blocks - (-_data_size(header, name) // _BLOCK)) * _BLOCK
        number += 1
    if position > size:
        raise SpecLiteError(name, f"truncated: {position} bytes by its headers, {size} there")
    if number < 2:
        raise SpecLiteError(name, "no table of the spectrum")


def _read_header(file, name):
    """Keywords and raw values of the header that begins here, and its length in blocks."""
    header = {}
    for n_blocks in range(1, _MAX_HEADER_BLOCKS + 1):
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise SpecLiteError(name, "truncated in a header")
        for start in range(0, _BLOCK, _CARD):
            keyword = block[start : start + 8]
            if keyword == b"END     ":
                return header, n_blocks
            if keyword.startswith(_KEYWORDS) and block[start + 8 : start + 10] == b"= ":
                value = block[start + 10 : start + _CARD].decode("latin-1").strip()
                text = value[1:].partition("'")[0] if value.startswith("'") else value.partition("/")[0]
                header.setdefault(keyword.decode("latin-1").strip(), text.strip())
    raise SpecLiteError(name, "a header without end")


def _integer(header, keyword, name, default=None):
    value = header.get(keyword, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise SpecLiteError(name, f"damaged header: {keyword} is {value!r}") from None


def _data_size(header, name):
    """Bytes of data that follow a header."""
    n_axes = _integer(header, "NAXIS", name)
    if not 0 <= n_axes <= 999:
        raise SpecLiteError(name, f"damaged header: NAXIS is {n_axes}")
    if n_axes == 0:
        return 0
    elements = 1
    for axis in range(1, n_axes + 1):
        elements *= _integer(header, f"NAXIS{axis}", name)
    elements += _integer(header, "PCOUNT", name, 0)
    size = abs(_integer(header, "BITPIX", name)) // 8 * _integer(header, "GCOUNT", name, 1) * elements
    if size < 0:
        raise SpecLiteError(name, "damaged header: negative size")
    return size


def _check_identity(header, name, spec_id):
    """Compare plate, MJD and fibre.  A few files have lost them from this header; those cannot be told apart."""
    expected = {"PLATEID": spec_id.plate, "MJD": spec_id.mjd, "FIBERID": spec_id.fiber}
    if "PLATEID" not in header and "FIBERID" not in header:
        return
    found = {keyword: _integer(header, keyword, name) for keyword in expected if keyword in header}
    if any(found[keyword] != expected[keyword] for keyword in found):
        text = "-".join(str(found.get(keyword, "?")) for keyword in expected)
        raise SpecLiteError(name, f"another spectrum: the header says {text}, expected {spec_id}")


def _check_columns(header, name):
    columns = {value.lower() for keyword, value in header.items() if keyword.startswith("TTYPE")}
    if not _COLUMNS <= columns or _integer(header, "NAXIS2", name) < 1:
        raise SpecLiteError(name, "its first extension is not the table of a spectrum")
