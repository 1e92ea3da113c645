"""Compressed files."""

from __future__ import annotations

import bz2
import gzip
import lzma
from contextlib import contextmanager

__all__ = ["COMPRESSIONS", "packing", "read_text", "text_encoding", "unpacked"]

# First bytes and how to open.
_KINDS = {".gz": (b"\x1f\x8b", gzip.open), ".bz2": (b"BZh", bz2.open), ".xz": (b"\xfd7zXZ", lzma.open)}
#: Suffixes of compressed files.
COMPRESSIONS = tuple(_KINDS)


@contextmanager
def unpacked(path):
    """A file as a stream of bytes; compressed ones are unpacked, whatever their name."""
    with open(path, "rb") as stream:
        start = stream.read(6)
    unpack = next((function for magic, function in _KINDS.values() if start.startswith(magic)), open)
    with unpack(path, "rb") as stream:
        yield stream


@contextmanager
def packing(path):
    """A stream of bytes to a file that is compressed as its name says."""
    pack = next(
        (function for suffix, (_, function) in _KINDS.items() if path.name.lower().endswith(suffix)), open
    )
    if pack is gzip.open:
        # Without name and time of writing: equal tables are equal files.
        with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
            yield stream
    else:
        with pack(path, "wb") as stream:
            yield stream


def text_encoding(start):
    """Encoding of a text by its first bytes: UTF-16 if a byte-order mark says so, else UTF-8, with or without a mark."""
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def read_text(path):
    """Text of a file, compressed or not, in UTF-8 or UTF-16."""
    with unpacked(path) as stream:
        data = stream.read()
    # Names of files may hold bytes that are no UTF-8; they come out as the functions of the system have them.
    return data.decode(text_encoding(data), errors="surrogateescape").removeprefix("\ufeff")
