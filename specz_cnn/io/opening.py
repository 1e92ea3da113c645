"""Opening a FITS file that may be damaged, compressed or hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import warnings
from contextlib import contextmanager

from astropy.io import fits

from specz_cnn.io.headers import first_headers, is_sound

__all__ = ["SpecLiteError", "check_counts", "check_regular", "open_spec_lite", "read_first_headers"]


# No compression that a FITS reader undoes makes real data this much smaller; gzip cannot.
_MAX_COMPRESSION = 1100


_CARD = 80


# Each begins with letters: then they are found quickly.
_ABSURD_COUNTS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"(NAXIS) *= *[+]?0*([1-9][0-9]{3,})",
        rb"(TFIELDS) *= *[+]?0*([1-9][0-9]{3,})",
        rb"(NAXIS[0-9]*) *= *(-[0-9]*)",
        rb"(PCOUNT) *= *(-[0-9]*)",
        rb"(GCOUNT) *= *(-[0-9]*)",
        rb"(TFIELDS) *= *(-[0-9]*)",
    )
)


_COMPRESSIONS = ((b"\x1f\x8b\x08", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


_MAX_UNPACKED = 1 << 28  # bytes; full files with all exposures are a tenth of this


class SpecLiteError(OSError, ValueError):
    """A file that is damaged, or no spec-lite file; the message says which file and why.

    It is both an `OSError` and a `ValueError`: callers need not tell a broken file from a wrong one.
    """

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = str(reason)

    def __reduce__(self):
        # Exceptions are rebuilt from args, which hold one message here: worker processes send these errors home.
        return type(self), (self.path, self.reason)

    def __str__(self):
        return f"{self.path}: {self.reason}"


@contextmanager
def open_spec_lite(file):
    """Open a file with astropy; whatever goes wrong inside the ``with`` block becomes a :class:`SpecLiteError`.

    Parameters
    ----------
    file : path-like, file-like or `~astropy.io.fits.HDUList`
        An open `~astropy.io.fits.HDUList` is left open.

    Yields
    ------
    `~astropy.io.fits.HDUList`

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        For every other failure.
    """
    name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", "<open file>")
    try:
        with warnings.catch_warnings():
            # Damage is judged below, by the sizes; headers of SDSS offend against details of the standard.
            warnings.simplefilter("ignore")
            if isinstance(file, fits.HDUList):
                name = file.filename() or name
                yield file
                return
            with _opened(file) as stream:
                hdulist = fits.open(stream, memmap=False)
                try:
                    yield hdulist
                finally:
                    hdulist.close(closed=False)
    except (SpecLiteError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise SpecLiteError(name, _reason(error)) from error


def _reason(error):
    """Why a file cannot be opened; astropy's advice for files without SIMPLE helps nobody who has no FITS file."""
    if "No SIMPLE card" in str(error):
        return "this is no FITS file"
    return str(error) or type(error).__name__


@contextmanager
def _opened(file):
    """A checked file as a stream: astropy would leave a file open if it cannot read it; who opens a file closes it."""
    if not isinstance(file, str | os.PathLike):
        position = file.tell()
        try:
            check_counts(file)
        finally:
            file.seek(position)
        yield file
        return
    check_regular(file)
    with open(file, "rb") as stream:
        unpack = _unpacker(stream)
    if unpack is not None:
        with unpack(file, "rb") as stream:
            check_counts(stream, limit=_MAX_UNPACKED)
        # Unpacked again, now that it is known not to fill the memory.
        with unpack(file, "rb") as stream:
            data = stream.read()
        yield _BoundedBytes(data, len(data))
        return
    with open(file, "rb") as stream:
        check_counts(stream)
    with _BoundedReader(io.FileIO(file), os.path.getsize(file)) as stream:
        yield stream


class _Bounded:
    """A stream that can be read a few times over, but not for ever.

    A header that makes no sense has a negative size for astropy, which then meets the same HDUs again and again.
    """

    def __init__(self, source, size):
        super().__init__(source)
        self._left = 8 * size + 1_000_000

    def read(self, size=-1, /):
        data = super().read(size)
        self._left -= max(len(data), _CARD)
        if self._left < 0:
            raise ValueError("its headers lead in circles")
        return data


class _BoundedReader(_Bounded, io.BufferedReader):
    """A file."""


class _BoundedBytes(_Bounded, io.BytesIO):
    """The unpacked content of a file."""


def check_regular(path):
    """Refuse pipes, devices and sockets: opening or reading them may never end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SpecLiteError(path, "not a regular file")


def _unpacker(stream):
    """The function that opens a compressed file whose bytes begin like this stream; None for all others."""
    start = stream.read(6)
    return next((function for magic, function in _COMPRESSIONS if start.startswith(magic)), None)


def read_first_headers(file, n):
    """The first headers of a file, which costs a few blocks however large it is.

    Parameters
    ----------
    file : path-like, file-like or `~astropy.io.fits.HDUList`
    n : int

    Returns
    -------
    list of `~astropy.io.fits.Header`
        Those of up to ``n`` HDUs, as far as no data lie between them; none of a file that is no FITS file.
    """
    if isinstance(file, fits.HDUList):
        return [hdu.header for hdu in file[:n]]
    if not isinstance(file, str | os.PathLike):
        headers = first_headers(file, n)
    else:
        check_regular(file)
        with open(file, "rb") as stream:
            unpack = _unpacker(stream) or open
        with unpack(file, "rb") as stream:
            headers = first_headers(stream, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [fits.Header.fromstring(header) for header in headers]


def check_counts(stream, limit=None):
    """Refuse headers that would keep astropy busy for ever.

    It makes a list of as many entries as NAXIS or TFIELDS says before it looks for any of them: numbers of ten digits
    take all the memory there is (the standard allows 999).  A negative size leads it back to the same HDU, again and
    again.  Of a file whose HDUs follow one another as they should, only the headers are read; of any other, everything.

    Parameters
    ----------
    stream : file-like
        Bytes; read from where it is.
    limit : int, optional
        Refuse what is longer.
    """
    start = stream.tell()
    if is_sound(stream, limit):
        return
    stream.seek(start)
    tail, size = b"", 0
    while chunk := stream.read(1 << 20):
        data = tail + chunk.upper()
        for pattern in _ABSURD_COUNTS:
            for match in pattern.finditer(data):
                # Only where a card begins: a history of the file may say the same.
                if (size - len(tail) + match.start()) % _CARD == 0:
                    raise ValueError(f"{match[1].decode()} = {match[2].decode()} in a header")
        tail, size = data[-_CARD:], size + len(chunk)
        if limit is not None and size > limit:
            raise ValueError(f"unpacks to more than {limit >> 20} MiB")
        if not data.startswith(b"SIMPLE") and size == len(chunk) and limit is None:
            return  # astropy looks no further
