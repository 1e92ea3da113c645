"""The headers of a FITS file, read without what lies between them."""

from __future__ import annotations

import re

__all__ = ["first_headers", "is_sound"]

BLOCK = 2880
_CARD = 80
_MAX_CARDS = 20_000  # of one header; the longest of SDSS have a thousand
_LARGEST = 999  # NAXIS and TFIELDS by the standard

_END = b"END".ljust(_CARD)
_COUNT = re.compile(rb"(NAXIS[0-9]*|BITPIX|PCOUNT|GCOUNT|TFIELDS|GROUPS)\s*=\s*([^\s/]*)", re.IGNORECASE)


def is_sound(stream, limit=None):
    """Whether a file is a chain of HDUs, each where the header before it says, with numbers that make sense.

    Only headers are read.  No means no more than that this is not certain.

    Parameters
    ----------
    stream : file-like
        Bytes; read from where it is.
    limit : int, optional
        Go no further than so many bytes.
    """
    position = stream.tell()
    number = 0
    while limit is None or position <= limit:
        header = _read_header(stream)
        if header is None:
            return False
        if not header:
            return number > 0
        if not header.startswith(b"XTENSION=" if number else b"SIMPLE  ="):
            return False
        size = _data_size(header)
        if size is None:
            return False
        position += len(header) + -(-size // BLOCK) * BLOCK
        stream.seek(position)
        number += 1
    return False


def first_headers(stream, n):
    """The bytes of the first ``n`` headers, or of as many as follow one another without data between them.

    Parameters
    ----------
    stream : file-like
        Bytes; read from where it is, and no further than these headers.
    n : int

    Returns
    -------
    list of bytes
        Without padding after the END card.
    """
    headers: list[bytes] = []
    while len(headers) < n:
        header = _read_header(stream)
        if not header or not header.startswith(b"XTENSION=" if headers else b"SIMPLE  ="):
            break
        headers.append(header[: header.rindex(_END) + _CARD])
        if _data_size(header) != 0:
            break
    return headers


def _read_header(stream):
    """Bytes of the header that begins here, up to the end of a block; empty at the end of the file, None if it is none."""
    header = b""
    while len(header) < _MAX_CARDS * _CARD:
        block = stream.read(BLOCK)
        if not block and not header:
            return b""
        if len(block) < BLOCK:
            return None
        header += block
        if any(block.startswith(_END, start) for start in range(0, BLOCK, _CARD)):
            return header
    return None


def _data_size(header):
    """Bytes of data that a header announces, without padding; None if it cannot be told."""
    counts: dict[bytes, int] = {}
    for start in range(0, len(header), _CARD):
        match = _COUNT.match(header, start, start + _CARD)
        if match is None:
            continue
        try:
            counts.setdefault(match[1].upper(), int(match[2]))
        except ValueError:
            return None  # random groups, numbers that are text
    n_axes = counts.get(b"NAXIS", -1)
    small = 0 <= n_axes <= _LARGEST and counts.get(b"TFIELDS", 0) <= _LARGEST
    if not small or any(value < 0 for name, value in counts.items() if name != b"BITPIX"):
        return None
    size = 1 if n_axes else 0
    for axis in range(1, n_axes + 1):
        length = counts.get(b"NAXIS%d" % axis)
        if length is None:
            return None
        size *= length
    values = counts.get(b"GCOUNT", 1) * (counts.get(b"PCOUNT", 0) + size)
    return abs(counts.get(b"BITPIX", 8)) * values // 8
