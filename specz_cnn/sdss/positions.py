"""Positions on the sky as people write them; what could mean two places is an error, never a guess."""

from __future__ import annotations

import re

__all__ = ["parse_position", "positions_from_table"]

# Minus and plus signs, blanks, primes and degree signs that come with text copied from papers and web pages.
_SIGNS: dict[int, str | None] = dict.fromkeys(
    map(ord, "\u2212\u2010\u2011\u2012\u2013\u2014\u2796\ufe63\uff0d\u00ad"), "-"
)
_SIGNS |= dict.fromkeys(map(ord, "\uff0b\u2795"), "+")
_SIGNS |= dict.fromkeys(
    map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"), " "
)
_SIGNS |= dict.fromkeys(map(ord, "\u200b\u200e\u200f\ufeff"), None)
_SIGNS |= {ord("\u00b0"): "d", ord("\u00ba"): "d", ord("\u02da"): "d"}
_SIGNS |= {
    ord("\u2032"): "m",
    ord("\u2019"): "m",
    ord("'"): "m",
    ord("\u2033"): "s",
    ord("\u201d"): "s",
    ord('"'): "s",
}

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_DEGREES = re.compile(rf"({_NUMBER})\s*(?:d|deg|degs|degrees?)?", re.IGNORECASE)
_COLONS = re.compile(r"([+-]?)(\d{1,3}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?")
_LETTERS = re.compile(
    r"([+-]?)(\d{1,3})\s*([hd])\s*(\d{1,2}(?:\.\d*)?)\s*m(?:\s*(\d{1,2}(?:\.\d*)?)\s*s)?", re.IGNORECASE
)
_HOURS = re.compile(rf"({_NUMBER})\s*h", re.IGNORECASE)
_J_NAME = re.compile(
    r"(?:[A-Za-z0-9]*\s*)?J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-])(\d\d)(\d\d)(\d\d(?:\.\d+)?)", re.ASCII
)

_HELP = 'write degrees, "150.12 -2.21", or "10:00:28.8 -02:12:36"'


def parse_position(text):
    """A position in degrees (ICRS).

    Parameters
    ----------
    text : str
        Two numbers are degrees, with or without the unit on either of them.  Hours are written as ``10:00:28.8``,
        ``10h00m28.8s``, ``10 00 28.8`` or in a name such as ``J100028.80-021236.0``; then the declination is in degrees,
        minutes and seconds.  Unicode's minus signs, primes and degree signs are understood.

    Returns
    -------
    ra, dec : float
        Degrees; right ascension from 0 to 360.

    Raises
    ------
    ValueError
        If it is no position, or could be two: a decimal right ascension with a sexagesimal declination, for example.
    """
    plain = str(text).translate(_SIGNS).strip()
    plain = re.sub(r"mm", "s", plain) if "h" not in plain.lower() and "mm" in plain else plain
    plain = re.sub(r"(?<=[+-])\s+(?=\d)", "", plain)
    name = _J_NAME.fullmatch(plain)
    if name:
        hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = name.groups()
        return _checked(
            _sexagesimal("", hours, minutes, seconds, text) * 15,
            _sexagesimal(sign, degrees, arcminutes, arcseconds, text),
            text,
        )
    first, second = _two_parts(plain, text)
    ra, ra_kind = _angle(first, text)
    dec, dec_kind = _angle(second, text)
    if dec_kind in ("hours", "hms") or (ra_kind, dec_kind) not in _PAIRS:
        raise ValueError(f"cannot tell what the position {text!r} means; {_HELP}")
    return _checked(ra, dec, text)


# What right ascension and declination may be together; the other pairs are in doubt.
_PAIRS = {("degrees", "degrees"), ("colons", "colons"), ("hms", "dms"), ("dms", "dms"), ("hours", "degrees")}


def _two_parts(plain, text):
    """Right ascension and declination as texts."""
    separated = [part.strip() for part in re.split(r"[,;\t]", plain) if part.strip()]
    if len(separated) == 2:
        return tuple(re.sub(r"\s+", ":", part) if _is_triple(part) else part for part in separated)
    if len(separated) > 2:
        raise ValueError(f"cannot read the position {text!r}; {_HELP}")
    words = plain.split()
    if len(words) == 6 and all(re.fullmatch(_NUMBER, word) for word in words):
        return ":".join(words[:3]), ":".join(words[3:])
    # The declination begins at the last sign, or at the second word, or where letters of the first part end.
    match = re.fullmatch(r"(.+?)\s*([+-][^+-]*)", plain) or re.fullmatch(r"(\S+)\s+(\S+)", plain)
    match = match or re.fullmatch(r"(.*?[sdh]|\S+?)\s+(\S.*)", plain)
    if not match:
        raise ValueError(f"cannot read the position {text!r}; {_HELP}")
    return match[1].strip(), match[2].strip()


def _is_triple(part):
    return len(part.split()) == 3 and all(re.fullmatch(_NUMBER, word) for word in part.split())


def _angle(part, text):
    """Value in degrees of a part, and how it was written."""
    if match := _DEGREES.fullmatch(part):
        return float(match[1]), "degrees"
    if match := _HOURS.fullmatch(part):
        return 15 * float(match[1]), "hours"
    if match := _COLONS.fullmatch(part):
        # Hours, if it is the right ascension; the caller knows.
        return _Colons(_sexagesimal(*match.groups(), text)), "colons"
    if match := _LETTERS.fullmatch(part):
        sign, whole, letter, minutes, seconds = match.groups()
        value = _sexagesimal(sign, whole, minutes, seconds, text)
        return (15 * value, "hms") if letter.lower() == "h" else (value, "dms")
    raise ValueError(f"cannot read the position {text!r}; {_HELP}")


class _Colons(float):
    """An angle whose first number is hours or degrees, by its place."""


def _sexagesimal(sign, whole, minutes, seconds, text):
    minutes, seconds = float(minutes), float(seconds or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"cannot read the position {text!r}: there are 60 minutes and seconds")
    value = float(whole) + minutes / 60 + seconds / 3600
    return -value if sign == "-" else value


def _checked(ra, dec, text):
    if isinstance(ra, _Colons):
        if not 0 <= ra < 24:
            raise ValueError(
                f"the position {text!r} has no right ascension below 24 hours; write 150d07m12s for degrees"
            )
        ra = 15 * ra
    ra, dec = float(ra), float(dec)
    if not (-180 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError(
            f"the position {text!r} is not on the sky: right ascension {ra:g}, declination {dec:g}"
        )
    return ra % 360, dec


_NAMES = (
    ("ra", "dec"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra_icrs", "de_icrs"),
    ("_raj2000", "_dej2000"),
)


def positions_from_table(table, origin="the table"):
    """Positions of the rows of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With columns ``ra`` and ``dec`` (or ``RAJ2000`` and ``DEJ2000``), in any case.  Numbers are degrees unless the
        column has a unit; texts are as `parse_position` takes them.
    origin : str, optional
        For messages: the name of the file.

    Returns
    -------
    ra, dec : `~numpy.ndarray`
        Degrees.

    Raises
    ------
    ValueError
        If there are no such columns, or a row has no position; the message says which row.
    """
    import numpy as np

    columns = {str(name).lower(): name for name in table.colnames}
    pair = next((names for names in _NAMES if set(names) <= set(columns)), None)
    if pair is None:
        raise ValueError(f"{origin} has no columns ra and dec; it has {', '.join(map(str, table.colnames))}")
    values = [table[columns[name]] for name in pair]
    ra, dec = np.full(len(table), np.nan), np.full(len(table), np.nan)
    scales = [_degrees_per_unit(column, name, origin) for column, name in zip(values, pair, strict=True)]
    for row, (first, second) in enumerate(zip(*values, strict=True)):
        try:
            ra[row], dec[row] = _row_position(first, second, scales)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{origin}, row {row + 1}: {error}") from None
    return ra, dec


def _degrees_per_unit(column, name, origin):
    """Factor that makes degrees of a column of numbers; None for texts."""
    import astropy.units as u

    if getattr(column, "dtype", None) is not None and column.dtype.kind in "USO":
        return None
    unit = getattr(column, "unit", None)
    if unit is None or str(unit) == "":
        return 1.0
    try:
        return u.Unit(unit).to(u.deg)
    except (ValueError, TypeError, u.UnitsError):
        raise ValueError(f"{origin}: column {name} is in {unit}, which is no angle") from None


def _row_position(first, second, scales):
    import numpy as np

    if first is np.ma.masked or second is np.ma.masked:
        raise ValueError("no position")
    if None in scales:
        texts = [
            str(value.decode() if isinstance(value, bytes) else value).strip() for value in (first, second)
        ]
        if any(text.lower() in ("", "null", "none", "nan", "--") for text in texts):
            raise ValueError("no position")
        return parse_position(", ".join(texts))
    ra, dec = (
        float(getattr(value, "value", value)) * scale
        for value, scale in zip((first, second), scales, strict=True)
    )
    if not (np.isfinite(ra) and np.isfinite(dec)):
        raise ValueError("no position")
    return _checked(ra, dec, f"{ra:g} {dec:g}")
