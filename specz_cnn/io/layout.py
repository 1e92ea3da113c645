"""What is where in a spec-lite file, found by content, and its reading through `astropy.io.fits`.

The coadded spectrum is the first table with columns ``flux``, ``loglam`` and ``ivar``; the row of the survey's catalogue
is the first table with ``class``, ``z``, ``z_err`` and ``zwarning``.  Names of HDUs do not count (some files have none),
nor does the case of column names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.io.bitmask import bad_pixels, mask_bits
from specz_cnn.io.names import parse_file_name, spec_name
from specz_cnn.io.opening import (
    _MAX_COMPRESSION,
    SpecLiteError,
    check_regular,
    open_spec_lite,
    read_first_headers,
)

if TYPE_CHECKING:
    from specz_cnn.io.bitmask import MaskPolicy
    from specz_cnn.typing import PathLike

__all__ = [
    "COADD_COLUMNS",
    "FORMAT",
    "IDENTITY_COLUMNS",
    "SPECOBJ_COLUMNS",
    "SpecLiteError",
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


_MAX_INTEGER = 2**31 - 1


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
