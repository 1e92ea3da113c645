"""Names of SDSS spectra: plate-MJD-fibre, specObjID, file names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from operator import index
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.io.names import parse_name, spec_file_name, spec_name
from specz_cnn.sdss.archive import PUBLISHED, lite_path, lite_url, reductions

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from specz_cnn.typing import Table

__all__ = ["SpecID", "as_specids", "decode_specobjid", "encode_specobjid", "iter_specids", "spec_lite_url"]

# Bits of a specObjID, most significant first: plate 14, fibre 12, MJD - 50000 14, reduction 14, ten zeros
# (https://www.sdss4.org/dr16/help/glossary/#specobj).
_PLATE, _FIBER, _MJD, _RUN2D = 50, 38, 24, 10
_MASK14, _MASK12, _MASK10 = 0x3FFF, 0xFFF, 0x3FF
_MJD_ZERO = 50000

# Reductions of the first spectrographs are plain numbers; those of BOSS and eBOSS are vN_M_P, packed into one number.
_LEGACY_RUN2D = (26, 103, 104)
_BOSS_RUN2D = re.compile(r"v(\d+)_(\d+)_(\d+)")

_SPECOBJID = re.compile(r"[+-]?\d{15,20}(?:\.0*)?|[+-]?\d(?:\.\d*)?[eE][+]?\d{1,2}", re.ASCII)
# A spreadsheet keeps 15 digits, and a double-precision number all 64 bits of a specObjID below 2**63, whose last ten are
# zero; text of fewer significant digits than this is a rounded number.
_DIGITS_OF_FLOAT = 16
_MOST_FIBERS = 1000
_ROUNDED = (
    "its last digits were lost (by a spreadsheet, or as a floating-point number): keep specObjIDs as text"
)
_RUN2D_IN_PATH = re.compile(r"(?:^|/)(26|103|104|v\d+_\d+_\d+)(?=/)", re.ASCII)


def _run2d_number(run2d):
    """Number that stands for a reduction in a specObjID."""
    text = run2d.decode() if isinstance(run2d, bytes) else str(run2d).strip()
    match = _BOSS_RUN2D.fullmatch(text)
    if match:
        major, minor, patch = (int(part) for part in match.groups())
        number = (major - 5) * 10000 + minor * 100 + patch
        if major >= 5 and minor < 100 and patch < 100 and number <= _MASK14 and number not in _LEGACY_RUN2D:
            return number
    elif text.isdecimal() and text.isascii() and int(text) in _LEGACY_RUN2D:
        return int(text)
    raise ValueError(f"{text!r} is not an SDSS reduction (RUN2D), such as 26, 103, 104 or v5_13_0")


def _run2d_name(number):
    """Name of the reduction that a number stands for."""
    if number in _LEGACY_RUN2D:
        return str(number)
    return f"v{number // 10000 + 5}_{number // 100 % 100}_{number % 100}"


def _clean_run2d(run2d):
    """The reduction as text, or None where it is not known."""
    if run2d is None or run2d is np.ma.masked:
        return None
    text = run2d.decode() if isinstance(run2d, bytes) else str(run2d)
    return _run2d_name(_run2d_number(text)) if text.strip() else None


def _whole_specobjid(value):
    """A specObjID as an integer below 2**64, from a signed or unsigned integer, text, or a float that is exact.

    Raises
    ------
    ValueError
        If it is none, or digits of it were lost.
    TypeError
        If it is no number at all.
    """
    if isinstance(value, bytes | str):
        number = _specobjid_of_text(value.decode() if isinstance(value, bytes) else value)
    elif isinstance(value, float | np.floating):
        number = _specobjid_of_float(value)
    else:
        try:
            number = index(value)
        except TypeError:
            raise TypeError(f"a specObjID must be an integer or a string, not {value!r}") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError(f"{number} is not a specObjID")
    signed = number < 0
    number %= 1 << 64  # FITS and many databases have signed integers only
    if not number or number & _MASK10:
        hint = f": {_ROUNDED}" if number and number % 1000 == 0 else ""
        raise ValueError(f"{value} is not a specObjID{hint}")
    published = _run2d_name(number >> _RUN2D & _MASK14) in PUBLISHED
    if number % 10_000 == 0 and not published and (isinstance(value, float) or _beside_published(number)):
        raise ValueError(f"{value} is not a specObjID: {_ROUNDED}")
    if signed and not (published and number >> _FIBER & _MASK12 <= _MOST_FIBERS):
        raise ValueError(f"{value} is not a specObjID")
    return number


def _beside_published(number):
    """Whether the reduction is beside one that was published: where rounding to 15 digits leads."""
    code = number >> _RUN2D & _MASK14
    reach = 10 ** max(len(str(number)) - 15, 0) // (2 << _RUN2D) + 1
    return any(abs(code - _run2d_number(run2d)) <= reach for run2d in PUBLISHED)


def _specobjid_of_text(text):
    text = text.strip()
    if not _SPECOBJID.fullmatch(text):
        raise ValueError(f"{text!r} is not a specObjID")
    if "e" not in text.lower():
        return int(text.partition(".")[0])
    digits = re.sub(r"[eE].*|[^0-9]", "", text).rstrip("0")
    if len(digits) < _DIGITS_OF_FLOAT:
        raise ValueError(f"{text} is not a specObjID: {_ROUNDED}")
    exact = int(Decimal(text))
    return exact if exact % (1 << 10) == 0 else _specobjid_of_float(float(text))


def _specobjid_of_float(value):
    if not np.isfinite(value) or value != int(value):
        raise ValueError(f"{value} is not a specObjID")
    if np.finfo(value).nmant < np.finfo(np.float64).nmant or abs(value) >= 1 << 63:
        raise ValueError(f"{value} is not a specObjID: {_ROUNDED}")
    return int(value)


def _in_range(name, value, low, high):
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        value = int(value)  # a column of integers with blank cells becomes one of floats
    try:
        value = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low} to {high}")
    return value


@dataclass(frozen=True, slots=True)
class SpecID:
    """The name of one SDSS spectrum.

    Parameters
    ----------
    plate : int
        Plate, 1 to 16383.
    mjd : int
        Modified Julian date of the observation, 50000 to 66383.
    fiber : int
        Fibre, 1 to 4095.
    run2d : str or int, optional
        Reduction: ``"26"``, ``"103"``, ``"104"`` (SDSS-I/II, SEGUE) or ``"v5_13_0"`` and the like (BOSS, eBOSS).
        None where it is not known, as in file names.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is out of range, or there can be no such reduction.

    Examples
    --------
    >>> from specz_cnn.sdss import SpecID
    >>> spec_id = SpecID.from_specobjid(4037498043582664704)
    >>> spec_id
    SpecID(plate=3586, mjd=55181, fiber=76, run2d='v5_13_0')
    >>> spec_id.filename
    'spec-3586-55181-0076.fits'
    >>> SpecID.parse("spec-0266-51602-0013.fits")
    SpecID(plate=266, mjd=51602, fiber=13, run2d=None)
    """

    plate: int
    mjd: int
    fiber: int
    run2d: str | None = None

    def __post_init__(self):
        set_field = object.__setattr__
        set_field(self, "plate", _in_range("plate", self.plate, 1, _MASK14))
        set_field(self, "mjd", _in_range("MJD", self.mjd, _MJD_ZERO, _MJD_ZERO + _MASK14))
        set_field(self, "fiber", _in_range("fiber", self.fiber, 1, _MASK12))
        set_field(self, "run2d", _clean_run2d(self.run2d))

    def __str__(self):
        return spec_name(self.plate, self.mjd, self.fiber)

    @classmethod
    def from_specobjid(cls, specobjid: int | str) -> SpecID:
        """Take a specObjID apart.

        Parameters
        ----------
        specobjid : int, `~numpy.uint64`, str or float
            A signed integer is read as the unsigned one with the same bits.  A float is taken where it is exact (double
            precision below 2**63, plates to 8191), and refused where digits may have been lost.

        Returns
        -------
        SpecID

        Raises
        ------
        TypeError
            For what is no number.
        ValueError
            If no spectrum can have this specObjID, or digits of it were lost.
        """
        number = _whole_specobjid(specobjid)
        try:
            return cls(
                plate=number >> _PLATE,
                mjd=(number >> _MJD & _MASK14) + _MJD_ZERO,
                fiber=number >> _FIBER & _MASK12,
                run2d=_run2d_name(number >> _RUN2D & _MASK14),
            )
        except ValueError as error:
            raise ValueError(f"{number} is not a specObjID: {error}") from None

    @classmethod
    def parse(cls, text: str) -> SpecID:
        """Read a name in any of its usual forms.

        Parameters
        ----------
        text : str or path-like
            ``"3586-55181-76"``, ``"spec-3586-55181-0076.fits"``, a path or URL that ends in one, or a specObjID in
            decimal digits.  A directory such as ``v5_13_0`` in the path tells the reduction.

        Returns
        -------
        SpecID

        Raises
        ------
        ValueError
            If the text is none of these.
        """
        text = fspath(text).strip().replace("\\", "/")
        if _SPECOBJID.fullmatch(text):
            return cls.from_specobjid(text)
        directory, _, name = text.rpartition("/")
        numbers = parse_name(name)
        if numbers is None:
            raise ValueError(
                f"{text!r} names no SDSS spectrum; write PLATE-MJD-FIBER, spec-PLATE-MJD-FIBER.fits or a specObjID"
            )
        found = _RUN2D_IN_PATH.findall(directory + "/")
        plate, mjd, fiber = numbers
        return cls(plate, mjd, fiber, found[-1] if found else None)

    @classmethod
    def from_table(cls, table: Table) -> list[SpecID]:
        """Names of the spectra of a table.

        Parameters
        ----------
        table : `~astropy.table.Table`, structured `~numpy.ndarray` or mapping of columns
            Columns ``plate``, ``mjd``, ``fiber`` (or ``fiberid``) and perhaps ``run2d``; or else ``specobjid``; or
            else ``file``.  The case of the names does not count.

        Returns
        -------
        list of SpecID
            One for each row.

        Raises
        ------
        ValueError
            If there are no such columns, or a row names no spectrum; the message says which row.
        """
        return as_specids(table)

    @property
    def specobjid(self) -> int:
        """The specObjID, an int below 2**64.

        Raises
        ------
        ValueError
            If the reduction is not known.
        """
        if self.run2d is None:
            raise ValueError(f"the specObjID of {self} depends on the reduction (run2d), which is not known")
        packed = self.plate << _PLATE | self.fiber << _FIBER | (self.mjd - _MJD_ZERO) << _MJD
        return packed | _run2d_number(self.run2d) << _RUN2D

    @property
    def filename(self) -> str:
        """Name of the file, ``spec-PLATE-MJD-FIBER.fits``."""
        return spec_file_name(self.plate, self.mjd, self.fiber)

    @property
    def lite_url(self) -> str:
        """URL of the spec-lite file in the release ``conf.data_release``.

        Where the reduction is not known, that of the release for the plate, and 26 for plates before BOSS.
        """
        return spec_lite_url(self)

    def lite_paths(self, data_release: int | None = None) -> list[str]:
        """Where the spec-lite file may lie, relative to the root of the archive, the likeliest first.

        Parameters
        ----------
        data_release : int, optional
            ``conf.data_release`` if not given.

        Returns
        -------
        list of str
            One path if the reduction is known, or follows from plate and release.
        """
        runs = (self.run2d,) if self.run2d is not None else reductions(self.plate, data_release)
        return [lite_path(self.plate, self.filename, run2d, data_release) for run2d in runs]


def spec_lite_url(spec_id: SpecID | str | int, *, data_release: int | None = None) -> str:
    """URL of the spec-lite file of a spectrum.

    Parameters
    ----------
    spec_id : SpecID, int or str
        Name of the spectrum.
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    str
        Under ``conf.sas_baseurl``.  Where the reduction is not known, the likeliest one is taken.

    Raises
    ------
    ValueError, TypeError
        If it names no spectrum.
    """
    (name,) = as_specids(spec_id)
    return lite_url(name.lite_paths(data_release)[0])


def encode_specobjid(plate: ArrayLike, mjd: ArrayLike, fiber: ArrayLike, run2d: Any) -> np.ndarray:
    """Pack names of spectra into specObjIDs.

    Parameters
    ----------
    plate, mjd, fiber : array-like of int
        They are broadcast against each other.
    run2d : array-like of str or int
        Reductions.

    Returns
    -------
    `~numpy.ndarray` of uint64

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is out of range, or there can be no such reduction.
    """
    limits = {
        "plate": (plate, 1, _MASK14),
        "MJD": (mjd, _MJD_ZERO, _MJD_ZERO + _MASK14),
        "fiber": (fiber, 1, _MASK12),
    }
    numbers = []
    for name, (values, low, high) in limits.items():
        values = np.asarray(values)
        if values.size and values.dtype.kind not in "iu":
            raise TypeError(f"{name} must be an integer, not of type {values.dtype}")
        if values.size and not (low <= values.min() and values.max() <= high):
            raise ValueError(f"{name} must be within {low} to {high}")
        numbers.append(values.astype(np.uint64))
    names, inverse = np.unique(np.asarray(run2d).astype(str), return_inverse=True)
    codes = np.array([_run2d_number(name) for name in names], dtype=np.uint64)
    codes = codes[inverse].reshape(np.shape(run2d))
    plates, mjds, fibers = numbers
    packed = plates << np.uint64(_PLATE) | fibers << np.uint64(_FIBER)
    return packed | (mjds - np.uint64(_MJD_ZERO)) << np.uint64(_MJD) | codes << np.uint64(_RUN2D)


def decode_specobjid(specobjid: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take specObjIDs apart.

    Parameters
    ----------
    specobjid : array-like of integer or str
        Signed integers are read as the unsigned ones with the same bits, which is what FITS tables hold; floats where
        they are exact.

    Returns
    -------
    plate, mjd, fiber : `~numpy.ndarray` of int64
    run2d : `~numpy.ndarray` of str

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If a string is not a number, digits were lost, or no spectrum can have one of the identifiers.
    """
    values = np.asarray(specobjid)
    if values.dtype.kind in "USOf":
        flat = [_whole_specobjid(value) for value in values.ravel()]
        values = np.array(flat, dtype=np.uint64).reshape(values.shape)
    elif values.dtype.kind not in "iu" and values.size:
        raise TypeError(f"specObjIDs must be integers or strings, not {values.dtype}")
    values = values.astype(np.uint64)

    def bits(shift, mask):
        return (values >> np.uint64(shift) & np.uint64(mask)).astype(np.int64)

    plate, fiber, code = bits(_PLATE, _MASK14), bits(_FIBER, _MASK12), bits(_RUN2D, _MASK14)
    bad = (plate == 0) | (fiber == 0) | (bits(0, _MASK10) != 0)
    if bad.any():
        raise ValueError(f"{values[bad].ravel()[0]} is not a specObjID")
    codes, inverse = np.unique(code, return_inverse=True)
    names = np.array([_run2d_name(number) for number in codes.tolist()], dtype=str)
    return plate, bits(_MJD, _MASK14) + _MJD_ZERO, fiber, names[inverse].reshape(values.shape)


def iter_specids(ids):
    """Names of spectra, whatever form they come in; what names none comes out as the error.

    Parameters
    ----------
    ids : SpecID, int, str, path-like, table, or iterable of these
        Forms as in :meth:`SpecID.parse` and :meth:`SpecID.from_table`; integers are specObjIDs.

    Yields
    ------
    SpecID, ValueError or TypeError

    Raises
    ------
    ValueError
        If a table has no columns that name spectra.
    TypeError
        If `ids` is nothing of the kind.
    """
    columns = _columns_of(ids)
    if columns is not None:
        yield from _iter_table(columns)
    elif isinstance(ids, SpecID | str | bytes | PathLike | int | np.integer):
        yield _one(ids)
    elif isinstance(ids, Iterable):
        # Elements keep their type: numpy would turn a list of large and small integers into floats.
        yield from (_one(value) for value in ids)
    else:
        raise TypeError(f"expected names of SDSS spectra, not {type(ids).__name__}")


def as_specids(ids: Any) -> list[SpecID]:
    """Names of spectra, whatever form they come in.

    Parameters
    ----------
    ids : SpecID, int, str, path-like, table, or iterable of these
        Forms as in :meth:`SpecID.parse` and :meth:`SpecID.from_table`; integers are specObjIDs.

    Returns
    -------
    list of SpecID

    Raises
    ------
    ValueError, TypeError
        If something names no spectrum; the message says which.
    """
    names = []
    for number, name in enumerate(iter_specids(ids)):
        if isinstance(name, Exception):
            raise type(name)(f"identifier {number}: {name}") from name
        names.append(name)
    return names


def _one(value):
    try:
        if isinstance(value, SpecID | ValueError | TypeError):
            return value  # errors found earlier are passed on
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str | PathLike):
            return SpecID.parse(value)
        if isinstance(value, tuple | list) and 3 <= len(value) <= 4:
            return SpecID(*value)
        return SpecID.from_specobjid(value)
    except (ValueError, TypeError) as error:
        return error


def _columns_of(ids):
    """Lower-case column names and columns, or None if it is no table."""
    if hasattr(ids, "colnames"):
        names = ids.colnames
    elif getattr(getattr(ids, "dtype", None), "names", None):
        names = ids.dtype.names
    elif hasattr(ids, "keys"):
        names = list(ids.keys())
    else:
        return None
    columns = {}
    for name in names:
        columns.setdefault(str(name).lower(), ids[name])
    return columns


def _iter_table(columns):
    fiber = next((name for name in ("fiber", "fiberid") if name in columns), None)
    if fiber and "plate" in columns and "mjd" in columns:
        parts = [_values(columns[name]) for name in ("plate", "mjd", fiber)]
        parts.append(_values(columns["run2d"]) if "run2d" in columns else [None] * len(parts[0]))
        yield from (_one(row) for row in zip(*parts, strict=True))
        return
    for name in ("specobjid", "file"):
        if name in columns:
            yield from (_one(value) for value in _values(columns[name]))
            return
    raise ValueError(
        "the table has no columns that name spectra: plate, mjd and fiber; or specobjid; or file"
    )


def _values(column):
    """A column as a list of Python objects; None where it is masked."""
    if getattr(getattr(column, "dtype", None), "kind", "") == "f":
        # Elements keep their type: it decides whether digits may have been lost.
        return [None if value is np.ma.masked or np.isnan(value) else value for value in column]
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [value.decode().strip() if isinstance(value, bytes) else value for value in values]
