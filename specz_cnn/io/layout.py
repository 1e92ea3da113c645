"""What is where in a spec-lite file, found by content, and its reading through `astropy.io.fits`.

The coadded spectrum is the first table with columns ``flux``, ``loglam`` and ``ivar``; the row of the survey's catalogue
is the first table with ``class``, ``z``, ``z_err`` and ``zwarning``.  Names of HDUs do not count (some files have none),
nor does the case of column names.
"""

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
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.io.bitmask import bad_pixels, mask_bits
from specz_cnn.io.headers import first_headers, is_sound
from specz_cnn.io.names import parse_file_name, spec_name

if TYPE_CHECKING:
    from specz_cnn.io.bitmask import MaskPolicy
    from specz_cnn.typing import PathLike

__all__ = [
    "COADD_COLUMNS",
    "FORMAT",
    "IDENTITY_COLUMNS",
    "SPECOBJ_COLUMNS",
    "SpecLiteError",
    "check_counts",
    "check_regular",
    "find_table",
    "identity_from",
    "known_name",
    "make_arrays",
    "open_spec_lite",
    "read_arrays_astropy",
    "read_columns",
    "read_first_headers",
    "read_specobj",
    "to_text",
    "whole_number",
]

#: Label of spec-lite files among the formats of specutils.
FORMAT = "SDSS spec-lite"
#: Columns without which a table is not a coadded spectrum.
COADD_COLUMNS = ("flux", "loglam", "ivar")
#: Columns by which the row of the survey's catalogue is known.
SPECOBJ_COLUMNS = ("class", "z", "z_err", "zwarning")
#: Columns of that row that :func:`identity_from` uses.
IDENTITY_COLUMNS = (*SPECOBJ_COLUMNS, "plate", "mjd", "fiberid", "plug_ra", "plug_dec", "ra", "dec")

# In the names of SDSS-V the third number is not a fibre but that of a catalogue, and longer.
_LARGEST_FIBER = 9999

# No compression that a FITS reader undoes makes real data this much smaller; gzip cannot.
_MAX_COMPRESSION = 1100

_MAX_INTEGER = 2**31 - 1

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


def _column_names(hdu):
    return [str(name).lower() for name in hdu.columns.names]


def find_table(hdulist, wanted):
    """First binary table with all wanted columns (lower case), or None."""
    index = 1
    while True:
        try:
            hdu = hdulist[index]  # reads headers only as far as this one
        except IndexError:
            return None
        if isinstance(hdu, fits.BinTableHDU) and set(wanted) <= set(_column_names(hdu)):
            return hdu
        index += 1


def _check_size(hdu, path):
    """Refuse a table that says it is larger than the file: astropy would allocate first and read afterwards."""
    info = hdu.fileinfo() or {}
    file = info.get("file")
    if file is None or "datLoc" not in info:
        return
    needed = info["datLoc"] + hdu.header["NAXIS1"] * hdu.header["NAXIS2"] + hdu.header.get("PCOUNT", 0)
    if file.compression:
        available = _MAX_COMPRESSION * os.path.getsize(file.name) if file.name else needed
    else:
        available = file.size
    if needed > available:
        raise SpecLiteError(path, f"truncated: {needed} bytes needed, {available} there")


def _native(array):
    """An array of its own in native byte order."""
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=True)


def read_columns(hdulist, path):
    """All columns of the coadded spectrum.

    Parameters
    ----------
    hdulist : `~astropy.io.fits.HDUList`
    path : path-like
        For messages.

    Returns
    -------
    dict
        Lower-case column name: `~numpy.ndarray` of shape (n,), native byte order.

    Raises
    ------
    SpecLiteError
        If there is no such table, it is cut off, or it is empty.
    """
    hdu = find_table(hdulist, COADD_COLUMNS)
    if hdu is None:
        raise SpecLiteError(path, "no table with columns flux, loglam and ivar")
    _check_size(hdu, path)
    names = _column_names(hdu)
    columns = {}
    for name, column in zip(names, hdu.columns, strict=True):
        if name not in columns:
            columns[name] = _native(hdu.data[column.name])
    check_columns(columns, path)
    return columns


def check_columns(columns, path):
    """Refuse columns that are no spectrum."""
    n = len(columns["flux"])
    if n == 0:
        raise SpecLiteError(path, "the spectrum has no pixels")
    for name in COADD_COLUMNS:
        column = columns[name]
        if column.shape != (n,) or column.dtype.kind not in "fiu":
            raise SpecLiteError(path, f"column {name} does not hold one number a pixel")
    mask = columns.get("and_mask")
    if mask is not None and (mask.shape != (n,) or mask.dtype.kind not in "iu"):
        raise SpecLiteError(path, "column and_mask does not hold one integer a pixel")
    check_loglam(columns["loglam"], path)


def check_loglam(loglam, path):
    """Refuse wavelengths that are not finite, do not ascend, or are no log10 of Angstrom."""
    if not (np.isfinite(loglam).all() and (loglam[1:] > loglam[:-1]).all()):
        raise SpecLiteError(path, "loglam is not finite or does not ascend")
    if loglam[0] < 0 or loglam[-1] > 10:
        raise SpecLiteError(path, f"loglam from {loglam[0]:g} to {loglam[-1]:g} is no log10 of Angstrom")


def to_text(value):
    """Text of a FITS string, which may come as bytes, padded."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return str(value).replace("\0", " ").strip()


def read_specobj(hdulist, path, names=None):
    """The row of the survey's catalogue.

    Parameters
    ----------
    hdulist : `~astropy.io.fits.HDUList`
    path : path-like
        For messages.
    names : collection of str, optional
        Columns to read (lower case); all if not given.

    Returns
    -------
    dict
        Lower-case column name: value (numbers, strings without padding, or small arrays).  Empty if the file has none.

    Raises
    ------
    SpecLiteError
        If the table is cut off.
    """
    hdu = find_table(hdulist, SPECOBJ_COLUMNS)
    if hdu is None:
        _check_tail(hdulist, path)
        return {}
    _check_size(hdu, path)
    if len(hdu.data) == 0:
        return {}
    row = {}
    for name, column in zip(_column_names(hdu), hdu.columns, strict=True):
        if names is not None and name not in names:
            continue
        value = hdu.data[column.name][0]
        if isinstance(value, str | bytes):
            value = to_text(value)
        elif isinstance(value, np.ndarray):
            value = _native(value)
        else:
            value = value.item()
        row.setdefault(name, value)
    return row


def _check_tail(hdulist, path):
    """An HDU whose header is cut off is invisible to astropy; the bytes that it left behind give it away."""
    info = hdulist[-1].fileinfo() or {}
    file = info.get("file")
    if file is None or file.compression:
        return
    end = info["datLoc"] + info["datSpan"]
    if file.size > end:
        file.seek(end)
        if file.read(8) == b"XTENSION":
            raise SpecLiteError(path, "truncated in the header of an HDU")


def whole_number(value):
    """An integer that tables can hold.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If the value is none, or needs more than 32 bits.
    """
    number = int(value)
    if abs(number) > _MAX_INTEGER:
        raise OverflowError(f"{number} needs more than 32 bits")
    return number


def known_name(identity):
    """The name of an SDSS spectrum, ``PLATE-MJD-FIBER``; empty where a number is not known."""
    numbers = [identity.get(name, -1) for name in ("plate", "mjd", "fiber")]
    return spec_name(*numbers) if min(numbers) > 0 else ""


def _number(convert, value, unknown):
    """A number of a header or table, which may also be a string, empty or absent."""
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        return unknown


def identity_from(path, header, row):
    """Name, place and pipeline redshift of a spectrum.

    The catalogue row counts most, then the primary header, then the file's name.  ``RA`` and ``DEC`` of the header are
    never used: they are the telescope's, not the object's.

    Parameters
    ----------
    path : path-like
    header, row : mapping
        Primary header (upper-case keywords), catalogue row (lower-case names, may be empty).

    Returns
    -------
    dict
        The fields of :class:`~specz_cnn.io.SpectrumArrays` other than its arrays.
    """
    numbers = parse_file_name(str(path))
    named, own = dict(zip(("plate", "mjd", "fiber"), numbers or (), strict=False)), ""
    if numbers and numbers[2] > _LARGEST_FIBER:
        named, own = {"mjd": named["mjd"]}, "-".join(map(str, numbers))
    sources = {
        "plate": (row.get("plate"), header.get("PLATEID"), named.get("plate")),
        "mjd": (row.get("mjd"), header.get("MJD"), named.get("mjd")),
        "fiber": (row.get("fiberid"), header.get("FIBERID"), named.get("fiber")),
    }
    identity = {"file": str(path)}
    for name, values in sources.items():
        numbers = (_number(whole_number, value, -1) for value in values)
        identity[name] = next((number for number in numbers if number > 0), -1)
    for name, plug in (("ra", "plug_ra"), ("dec", "plug_dec")):
        values = (row.get(plug), row.get(name), header.get(plug.upper()))
        numbers = (_number(float, value, np.nan) for value in values)
        identity[name] = next((number for number in numbers if np.isfinite(number)), np.nan)
    identity["z_pipe"] = _number(float, row.get("z"), np.nan)
    identity["z_pipe_err"] = _number(float, row.get("z_err"), np.nan)
    identity["class_pipe"] = to_text(row.get("class", ""))
    identity["zwarning_pipe"] = _number(whole_number, row.get("zwarning"), -1)
    identity["id"] = own or known_name(identity)
    return identity


def make_arrays(columns, identity, *, mask="default"):
    """Columns of a coadded spectrum as :class:`~specz_cnn.io.SpectrumArrays`.

    Parameters
    ----------
    columns : dict of `~numpy.ndarray`
        At least flux, loglam and ivar.
    identity : dict
        See :func:`identity_from`.
    mask : {"ivar", "default", "hard"} or int
        Mask policy, see :func:`~specz_cnn.io.bad_pixels`.

    Returns
    -------
    SpectrumArrays
    """
    with np.errstate(over="ignore"):
        flux = columns["flux"].astype(np.float32)
        ivar = columns["ivar"].astype(np.float32)
    ivar[bad_pixels(flux, ivar, columns.get("and_mask"), policy=mask)] = 0
    return SpectrumArrays(columns["loglam"].astype(np.float64), flux, ivar, **identity)


def read_arrays_astropy(
    path: PathLike, *, mask: MaskPolicy | int = "default", pipeline: bool = True
) -> SpectrumArrays:
    """Read a spec-lite file with `astropy.io.fits`; the same as :func:`~specz_cnn.io.read_arrays`, but slower.

    Parameters
    ----------
    path : path-like
    mask : {"ivar", "default", "hard"} or int
        Mask policy, see :func:`~specz_cnn.io.bad_pixels`.
    pipeline : bool
        Whether to read the row of the survey's catalogue.

    Returns
    -------
    SpectrumArrays

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        If the file is damaged or no spec-lite file.
    """
    mask = mask_bits(mask)
    with open_spec_lite(path) as hdulist:
        columns = read_columns(hdulist, path)
        row = read_specobj(hdulist, path, IDENTITY_COLUMNS) if pipeline else {}
        identity = identity_from(path, hdulist[0].header, row)
    return make_arrays(columns, identity, mask=mask)
