"""Spectra as columns: FITS tables, ECSV, CSV and plain text with wavelength, flux and error."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re

import numpy as np
from astropy import units as u
from astropy.io import fits

from specz_cnn.io.convert import medium_of_header
from specz_cnn.io.formats.common import header_position, inverse_variance, make_spectrum, stem
from specz_cnn.io.tables import parse_table
from specz_cnn.io.units import parse_axis_unit, parse_flux_unit

__all__ = ["is_text", "matches", "read", "read_text"]

# Names of columns, lower case, without anything but letters and digits; the best first.
_WAVELENGTH = (
    *(
        "wavelength",
        "wave",
        "lambda",
        "lam",
        "wl",
        "wav",
        "wavel",
        "spectralaxis",
        "spectral",
        "optwave",
        "waveum",
    ),
    *("wavelengthvac", "wavevac", "lambdavac", "vacwave", "vacuumwavelength", "wavelengthair", "waveair"),
    *(
        "lambdaair",
        "airwave",
        "awav",
        "loglam",
        "loglambda",
        "logwave",
        "logwavelength",
        "angstrom",
        "angstroms",
    ),
    *("obswave", "waveobs", "wavelengthobs", "frequency", "freq", "energy", "x"),
)
_FLUX = (
    *(
        "flux",
        "flam",
        "flambda",
        "fluxlambda",
        "fluxdensity",
        "spec",
        "spectrum",
        "specflux",
        "intensity",
        "fnu",
    ),
    *("fluxnu", "counts", "count", "optflam", "optcounts", "fluxreduced", "fluxcal", "y"),
)
_ERRORS = {
    "ivar": ("ivar", "invvar", "inversevariance", "fluxivar", "ivarflux"),
    "sigma": (
        *(
            "err",
            "error",
            "sigma",
            "fluxerr",
            "errflux",
            "eflux",
            "fluxerror",
            "errorflux",
            "uncertainty",
            "unc",
        ),
        *(
            "sig",
            "noise",
            "std",
            "stddev",
            "errs",
            "fluxerrs",
            "fluxsigma",
            "sigmaflux",
            "fluxunc",
            "ferr",
            "dflux",
        ),
        *(
            "flamerr",
            "flamerror",
            "fluxstd",
            "fluxuncertainty",
            "sigflux",
            "fluxsig",
            "e",
            "specerr",
            "errreduced",
        ),
    ),
    "variance": ("var", "variance", "fluxvar", "fluxvariance", "varflux"),
}
_MASK = ("mask", "badpix", "bad", "quality", "qual", "dq", "flag", "flags")

_TEXT_LIMIT = 1 << 26  # bytes of a text file; a spectrum of a million pixels takes as much
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_COMMENT = re.compile(r"\s*(?:[#%!;]|//|\\)")


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[(\[].*", "", str(name).lower()))


def _unit_in_name(name):
    """What stands in brackets behind a name, such as in ``wave (nm)`` or ``flux[Jy]``."""
    match = re.search(r"[(\[]\s*(.+?)\s*[)\]]\s*$", str(name))
    return match[1] if match else ""


def _pick(columns, names):
    """The column that has the first of the names."""
    plain = {}
    for name in columns:
        plain.setdefault(_plain(name), name)
    return next((plain[name] for name in names if name in plain), None)


def spectrum_from_columns(columns, *, units=None, ucds=None, meta=None, medium=None, unit=None):
    """A spectrum of named columns.

    Parameters
    ----------
    columns : dict of str to array_like, shape (n,)
    units : dict of str to str, optional
        Units of columns as texts.
    ucds : dict of str to str, optional
        Unified content descriptors of columns, which tell air (``obs.atmos``) from vacuum.
    meta : dict, optional
    medium : {"air", "vacuum", None}
    unit : sequence of str, optional
        Units that the caller states, for the axis or the flux, by their kind.

    Returns
    -------
    `~specutils.Spectrum`

    Raises
    ------
    ValueError
        If there is no wavelength or flux, or their unit is in doubt.
    """
    units, ucds = units or {}, ucds or {}
    wave_name, flux_name = _pick(columns, _WAVELENGTH), _pick(columns, _FLUX)
    if wave_name is None or flux_name is None:
        missing = "wavelength" if wave_name is None else "flux"
        raise ValueError(f"no column that is a {missing} among {', '.join(map(str, columns))}")
    stated_axis, stated_flux = split_units(unit)
    wave, log = np.asarray(columns[wave_name], dtype=np.float64), False
    text = stated_axis or units.get(wave_name) or _unit_in_name(wave_name)
    if text:
        axis, log = parse_axis_unit(text)
        log |= _plain(wave_name).startswith("log")
    else:
        axis, log = guess_axis(wave, _plain(wave_name))
    text = stated_flux or units.get(flux_name) or _unit_in_name(flux_name)
    named = _plain(flux_name)
    if text:
        flux_unit = parse_flux_unit(text)
    elif named in ("fnu", "fluxnu"):
        flux_unit = u.Jy
    else:
        flux_unit = u.ct if "count" in named else u.one
    errors = {}
    for kind, names in _ERRORS.items():
        name = _pick(columns, names)
        if name is not None and not errors:
            errors[kind] = np.asarray(columns[name], dtype=np.float64)
    mask_name = _pick(columns, _MASK)
    mask = None
    if mask_name is not None and np.asarray(columns[mask_name]).dtype.kind in "biu":
        mask = np.asarray(columns[mask_name]) != 0
        if mask.mean() > 0.5:
            mask = None  # a mask by another convention (1 is good), or bits of which most mean nothing
    if medium is None:
        # By the name of the column, or its descriptor in tables of ESO (em.wl;obs.atmos).
        plain = _plain(wave_name)
        medium = (
            "air" if "air" in plain or plain == "awav" or "obs.atmos" in ucds.get(wave_name, "") else None
        )
        medium = "vacuum" if "vac" in plain else medium
    return make_spectrum(
        10.0**wave if log else wave,
        columns[flux_name],
        ivar=inverse_variance(**errors) if errors else None,
        mask=mask,
        unit=flux_unit,
        axis=axis,
        medium=medium,
        meta=meta,
    )


def split_units(unit):
    """(text of the axis' unit, text of the flux' unit) of what a caller states; None where it states none.

    Raises
    ------
    ValueError
        If a text is neither, or two are of one kind.
    """
    found = {"axis": None, "flux": None}
    for text in [unit] if isinstance(unit, str | u.UnitBase) else unit or ():
        text = str(text)
        try:
            parse_axis_unit(text)
            kind = "axis"
        except ValueError:
            parse_flux_unit(text)
            kind = "flux"
        if found[kind] is not None:
            raise ValueError(f"two units of the {kind}: {found[kind]} and {text}")
        found[kind] = text
    return found["axis"], found["flux"]


def guess_axis(wave, name=""):
    """Unit of wavelengths without one, and whether they are logarithms: Angstrom if they can be, else an error."""
    finite = wave[np.isfinite(wave) & (wave > 0)]
    if finite.size:
        low, high = finite.min(), finite.max()
        if name.startswith("log") or (3.0 <= low and high <= 4.6):
            return u.AA, True
        if 500 <= low and 2000 <= high <= 60000:
            return u.AA, False
        raise ValueError(f"wavelengths from {low:g} to {high:g} without a unit; say which (--unit, unit=)")
    raise ValueError("no wavelength is a positive number")


def matches(hdulist):
    """Whether there is a table with a wavelength and a flux."""
    return any(_usable(hdu) for hdu in hdulist)


def _usable(hdu):
    if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
        return False
    names = hdu.columns.names
    return _pick(names, _WAVELENGTH) is not None and _pick(names, _FLUX) is not None


def read(hdulist, path, *, unit=None):
    """The spectra of all such tables: of rows, or one for each row that holds arrays."""
    spectra = []
    header = hdulist[0].header
    ra, dec = header_position(header)
    tables = [hdu for hdu in hdulist if _usable(hdu)]
    for hdu in tables:
        names = hdu.columns.names
        units = {c.name: c.unit for c in hdu.columns if c.unit}
        ucds = {
            name: str(hdu.header.get(f"TUCD{i}", hdu.header.get(f"TUTYP{i}", "")))
            for i, name in enumerate(names, 1)
        }
        arrays = hdu.data[_pick(names, _FLUX)].ndim == 2
        rows = range(len(hdu.data)) if arrays else [slice(None)]
        for row in rows:
            columns = {
                name: hdu.data[name][row]
                for name in names
                if hdu.data[name].dtype.kind in "biuf" and (hdu.data[name].ndim == 2) is arrays
            }
            own = stem(path) + (f" {hdu.name}" if len(tables) > 1 else "")
            meta = {
                "survey": " ".join(str(header.get(k, "")).strip() for k in ("TELESCOP", "INSTRUME")).strip(),
                "id": own + (f" row {row + 1}" if arrays and len(rows) > 1 else ""),
                "object": str(header.get("OBJECT", "")).strip(),
                "ra": ra,
                "dec": dec,
                "header": header.copy(),
            }
            medium = medium_of_header(hdu.header) or medium_of_header(header)
            spectra.append(
                spectrum_from_columns(columns, units=units, ucds=ucds, meta=meta, medium=medium, unit=unit)
            )
    return spectra


def _bytes(path):
    """The content of a file, unpacked, but not without end."""
    with open(path, "rb") as stream:
        start = stream.read(6)
    opener = next((function for magic, function in _OPENERS if start.startswith(magic)), open)
    with opener(path, "rb") as stream:
        data = stream.read(_TEXT_LIMIT + 1)
    if len(data) > _TEXT_LIMIT:
        raise ValueError(f"a text of more than {_TEXT_LIMIT >> 20} MiB is no spectrum")
    return data


def _decode(data):
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace").lstrip("\ufeff")
    return data.decode("utf-8", "replace").lstrip("\ufeff")


def is_text(path):
    """Whether the beginning of a file is text (possibly compressed)."""
    with open(path, "rb") as stream:
        start = stream.read(6)
    opener = next((function for magic, function in _OPENERS if start.startswith(magic)), open)
    with opener(path, "rb") as stream:
        data = stream.read(4096)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return bool(data) and b"\0" not in data and not data.startswith(b"SIMPLE  =")


def read_text(path, *, unit=None):
    """The spectrum in a text file of columns, in a list.

    Columns are separated by commas, semicolons, tabs or blanks.  A line of names, also a commented one, tells what they
    are; without one they are wavelength, flux and, if there is a third, its error.  ECSV is read with its units.

    Raises
    ------
    ValueError
        If it is no table of numbers, or what is what is in doubt.
    """
    text = _decode(_bytes(path))
    meta = {"id": stem(path)}
    if text.lstrip().startswith("# %ECSV"):
        return [_from_ecsv(text, meta, unit)]
    names, rows = _parse(text)
    if names is None:
        columns = _unnamed(rows)
    else:
        columns = {name: rows[:, i] for i, name in enumerate(names)}
    # A comment such as "# air wavelengths" or "# vacuum" speaks about the wavelengths.
    comments = " ".join(line for line in text.splitlines()[:200] if _COMMENT.match(line)).lower()
    stated = {word for word in ("air", "vacuum") if re.search(rf"\b{word}\b[- ]?(?:wave|lambda)", comments)}
    medium = stated.pop() if len(stated) == 1 else None
    return [spectrum_from_columns(columns, meta=meta, unit=unit, medium=medium)]


def _from_ecsv(text, meta, unit):
    table = parse_table(text, meta["id"])
    units = {name: str(table[name].unit) for name in table.colnames if table[name].unit is not None}
    columns = {
        name: np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
        if table[name].dtype.kind == "f"
        else np.asarray(table[name])
        for name in table.colnames
        if table[name].dtype.kind in "biuf"
    }
    return spectrum_from_columns(columns, units=units, meta={**meta, "table": dict(table.meta)}, unit=unit)


def _split(line):
    for mark in (",", ";", "\t"):
        if mark in line:
            return [word.strip().strip("\"'") for word in line.split(mark)]
    return [word.strip("\"'") for word in line.split()]


def _numbers(words):
    """Numbers of a line, NaN for blank cells; None if a cell is anything else."""
    values = []
    for word in words:
        if word.lower() in ("", "nan", "null", "none", "--", "na", "n/a", "inf", "+inf", "-inf"):
            values.append(np.nan)
            continue
        try:
            values.append(
                float(word.replace("D", "e").replace("d", "e") if re.search(r"\d[dD][+-]?\d", word) else word)
            )
        except ValueError:
            return None
    return values


def _parse(text):
    """(names or None, array of numbers) of a text of columns."""
    names, rows, last = None, [], ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if _COMMENT.match(line):
            last = re.sub(_COMMENT, "", line, count=1).lstrip("#% ") or last
            continue
        words = _split(line)
        while words and words[-1] == "":
            words.pop()
        values = _numbers(words)
        if not words or (values is not None and np.isnan(values).all()):
            continue  # a blank row of a spreadsheet
        if values is None:
            if rows or names is not None:
                raise ValueError(f"line {number} is no row of numbers: {line.strip()[:60]!r}")
            names = words
            continue
        if rows and len(values) != len(rows[0]):
            if len(values) < len(rows[0]) and "," in line:
                values += [np.nan] * (len(rows[0]) - len(values))  # trailing cells left blank
            else:
                raise ValueError(f"line {number} has {len(values)} numbers, the lines before {len(rows[0])}")
        rows.append(values)
    if len(rows) < 2:
        raise ValueError("no table of numbers")
    array = np.array(rows)
    if names is None and last:
        words = _split(last)
        if len(words) == array.shape[1] and _pick(words, _WAVELENGTH) is not None:
            names = words
    if names is not None and len(names) != array.shape[1]:
        raise ValueError(f"{len(names)} names for {array.shape[1]} columns")
    return names, array


def _unnamed(array):
    """Columns of numbers without names: wavelength, flux, error."""
    n = array.shape[1]
    if n < 2:
        raise ValueError("one column of numbers is no spectrum")
    if n > 3 and not (_is_error(array[:, 2], array[:, 1])):
        raise ValueError(
            f"{n} columns without names, and the third does not look like the error of the second: name them in a "
            "first line (wavelength flux error)"
        )
    columns = {"wavelength": array[:, 0], "flux": array[:, 1]}
    if n > 2:
        columns["error"] = array[:, 2]
    return columns


def _is_error(values, flux):
    """Whether numbers can be the errors of a flux: not negative, and of a size that is possible."""
    good = np.isfinite(values) & np.isfinite(flux)
    if not good.any() or (values[good] < 0).mean() > 0.05:
        return False
    typical, size = np.median(values[good]), np.median(np.abs(flux[good]))
    return bool(typical > 0 and 1e-4 * size < typical < 1e4 * size)
