"""Spectra of any survey and instrument: which format a file has, and its spectra.

Spec-lite files are read by `specz_cnn.io.read_arrays`, and nothing here slows them down.  Whatever else there is goes
through :func:`read_spectra`: formats that are known by their content, then what specutils knows, then images and
columns of any origin.  The readers live in modules of their own, imported when they are needed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.io.bitmask import mask_bits
from specz_cnn.io.bulk import read_arrays
from specz_cnn.io.formats.remote import is_address, local_copy
from specz_cnn.io.layout import (
    COADD_COLUMNS,
    FORMAT,
    SpecLiteError,
    check_regular,
    find_table,
    open_spec_lite,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from specz_cnn.io.bitmask import MaskPolicy

__all__ = ["OWN_FORMATS", "Format", "ReadOptions", "format_labels", "read_any", "read_spectra"]


@dataclass(frozen=True)
class Format:
    """A format that this package reads by itself.

    Parameters
    ----------
    label : str
        Its name, for ``format=`` and ``--format``.
    what : str
        What it is, for people.
    module : str
        Module of this package that reads it.
    matches, read : str
        Functions there: whether an `~astropy.io.fits.HDUList` is of this format, and its spectra.
    general : bool
        Whether other formats are special cases of it; then readers of specutils are asked before.
    """

    label: str
    what: str
    module: str
    matches: str = "matches"
    read: str = "read"
    general: bool = False

    def function(self, name):
        """One of its functions; the module is imported when it is first needed."""
        return getattr(import_module(f"specz_cnn.io.formats.{self.module}"), getattr(self, name))


#: In the order in which they are tried.
OWN_FORMATS = (
    Format("LAMOST", "LAMOST low resolution: image of five rows, or table COADD", "lamost"),
    Format("DESI", "DESI coadds and spectra: a row for each spectrum, arms joined", "desi"),
    Format("SDSS spSpec", "spSpec files of SDSS-I/II", "sdss_images", "matches_spspec", "read_spspec"),
    Format("SDSS images", "BOSS spectrum as image HDUs: flux, ivar, loglam", "sdss_images"),
    Format("PypeIt", "PypeIt spec1d files and coadds", "pypeit"),
    Format("AAOmega", "2dF/AAOmega as reduced by 2dfdr", "fibres", "matches_aaomega", "read_aaomega"),
    Format("6dFGS", "6dF Galaxy Survey, both arms together", "fibres", "matches_6df", "read_6df"),
    Format(
        "IRAF bands", "IRAF image with bands: spectrum and sigma", "images", "matches_bands", "read_bands"
    ),
    Format("FITS columns", "FITS tables with columns wavelength, flux, error", "columns", general=True),
    Format("FITS image", "images with wavelengths in the header", "images", general=True),
)
#: Label of the reader of text.
TEXT = "columns"

_BY_LABEL = {entry.label.lower(): entry for entry in OWN_FORMATS}


@dataclass(frozen=True)
class ReadOptions:
    """How files are to be read, where they do not say it themselves; plain and picklable.

    Parameters
    ----------
    format : str, optional
        Label of a format; found by content if not given.
    unit : tuple of str
        Units of the axis, the flux, or both, for files without.
    air : bool, optional
        Whether wavelengths are those in air; by default what the file says, and vacuum where it says nothing.
    mask : str or int
        Mask policy for SDSS spectra, see `specz_cnn.io.bad_pixels`.
    """

    format: str | None = None
    unit: str | Sequence[str] | None = ()
    air: bool | None = None
    mask: MaskPolicy | int = "default"

    def __post_init__(self):
        unit = (self.unit,) if isinstance(self.unit, str) else tuple(map(str, self.unit or ()))
        object.__setattr__(self, "unit", unit)
        bits = mask_bits(self.mask)  # a policy that does not exist is no fault of the files
        object.__setattr__(self, "mask", self.mask if isinstance(self.mask, str) else bits)
        if self.format is not None and self.format.lower() not in {name.lower() for name in format_labels()}:
            raise ValueError(f"no format {self.format!r}; there are {', '.join(format_labels())}")
        if unit:
            from specz_cnn.io.formats.columns import split_units

            split_units(unit)


def format_labels():
    """Labels of all formats: spec-lite, our own, and those that specutils reads."""
    from specz_cnn.io.formats.foreign import labels

    own = [FORMAT, *(entry.label for entry in OWN_FORMATS), TEXT]
    known = {name.lower() for name in own}
    return own + [name for name in labels() if name.lower() not in known]


def read_any(path, options=None):
    """All spectra of a file or address, as plain arrays.

    Parameters
    ----------
    path : path-like
        A file of any format, or an address (``https://...``, ``s3://...``).
    options : ReadOptions, optional

    Returns
    -------
    list of SpectrumArrays
        At least one; those of a spec-lite file as `specz_cnn.io.read_arrays` reads it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        If it cannot be read; the message says which file and why.
    """
    options = options or ReadOptions()
    if is_address(path):
        with local_copy(path) as copy:
            return [_renamed(arrays, path) for arrays in read_any(copy, options)]
    if options.format is None or options.format.lower() == FORMAT.lower():
        try:
            arrays = read_arrays(path, mask=options.mask)
            return [_from_air(arrays) if options.air else arrays]
        except SpecLiteError as error:
            if options.format is not None or _is_damaged(path, error):
                raise
    from specz_cnn.io.convert import arrays_from_spectrum

    spectra = read_spectra(path, format=options.format, unit=options.unit)
    try:
        return [_renamed(arrays_from_spectrum(one, air=options.air), path) for one in spectra]
    except ValueError as error:
        raise SpecLiteError(path, error) from None


def _renamed(arrays, path):
    return replace(arrays, file=str(path))


def _from_air(arrays):
    """A spectrum whose wavelengths are those in air, whatever its format says."""
    from specz_cnn.io.convert import IN_AIR
    from specz_cnn.io.units import air_to_vacuum

    return replace(arrays, loglam=np.log10(air_to_vacuum(10.0**arrays.loglam)), note=IN_AIR)


def _is_damaged(path, error):
    """Whether a file that is no good spec-lite file cannot be anything else either."""
    if "not a regular file" in error.reason or os.path.isdir(path):
        return True
    try:
        from specz_cnn.io.formats.columns import is_text

        if is_text(path):
            return False
        with open_spec_lite(path) as hdulist:
            return find_table(hdulist, COADD_COLUMNS) is not None
    except (OSError, EOFError):
        return True  # a spec-lite file that cannot be read is reported as such


def read_spectra(path, *, format=None, unit=()):
    """All spectra of a file of any format.

    Parameters
    ----------
    path : path-like
    format : str, optional
        Label of a format (`format_labels`); found by content if not given.
    unit : str or sequence of str, optional
        Units of the axis, the flux, or both, where the file has none; they overrule those of columns.

    Returns
    -------
    list of `~specutils.Spectrum`
        ``meta`` holds ``survey``, ``id``, ``ra``, ``dec``, ``z``, ``z_err``, ``class`` as far as the file knows them,
        ``medium`` (``"air"`` or ``"vacuum"``) and ``header``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SpecLiteError
        If no reader takes the file, or it is damaged.
    ValueError
        If there is no such format.
    """
    if is_address(path):
        with local_copy(path) as copy:
            return read_spectra(copy, format=format, unit=unit)
    check_regular(path)
    if os.path.isdir(path):
        raise SpecLiteError(path, "a directory, not a file")
    options = ReadOptions(format=format, unit=unit)
    try:
        found = _read(path, options)
    except (FileNotFoundError, SpecLiteError, MemoryError):
        raise
    except Exception as error:
        raise SpecLiteError(path, " ".join(str(error).split()) or type(error).__name__) from error
    if not found:
        raise SpecLiteError(path, "no spectrum in this file")
    for spectrum in found:
        spectrum.meta.setdefault("file", str(path))
    return found


def _read(path, options):
    from specz_cnn.io.formats import columns, foreign

    wanted = (options.format or "").lower()
    if wanted == FORMAT.lower():
        from specz_cnn.io.spec_lite import read_spec_lite

        return [read_spec_lite(path)]
    if wanted == TEXT or (not wanted and columns.is_text(path)):
        return columns.read_text(path, unit=options.unit)
    if wanted and wanted not in _BY_LABEL:
        return foreign.read(path, format=options.format)
    with open_spec_lite(path) as hdulist:
        entries = [_BY_LABEL[wanted]] if wanted else [entry for entry in OWN_FORMATS if not entry.general]
        for entry in entries:
            if entry.function("matches")(hdulist):
                return _read_own(entry, hdulist, path, options)
        if wanted:
            raise ValueError(f"not of the format {entries[0].label}")
        general = [entry for entry in OWN_FORMATS if entry.general and entry.function("matches")(hdulist)]
        n_hdus = len(hdulist)
    found, problem = None, None
    try:
        found = foreign.read(path)
    except ValueError as error:
        problem = error
    if found is not None and (not general or any(one.uncertainty is not None for one in found)):
        return found
    with open_spec_lite(path) as hdulist:
        for entry in general:
            if found is None:
                return _read_own(entry, hdulist, path, options)
            # A reader that knows of no errors gives way where they are in the file all the same.
            with suppress(ValueError):
                own = _read_own(entry, hdulist, path, options)
                if all(one.uncertainty is not None for one in own):
                    return own
    if found is not None:
        return found
    reason = "no table with columns flux, loglam and ivar, and no other format that is known"
    raise ValueError(f"{reason} ({n_hdus} HDUs; specutils: {str(problem)[:120]})")


def _read_own(entry, hdulist, path, options):
    takes_unit = {"unit": options.unit} if entry.module in ("columns", "images") else {}
    return entry.function("read")(hdulist, path, **takes_unit)
