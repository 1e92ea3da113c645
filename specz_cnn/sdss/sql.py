"""SQL for SkyServer: every value in it is a checked number, or one of a few known words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from urllib.parse import quote_plus

import numpy as np

__all__ = ["COLUMNS", "Query", "conditions", "cone_queries", "criteria_query", "id_queries", "plate_queries"]

#: Column of our tables: (column of SpecObj, type, unit).
COLUMNS = {
    "specobjid": ("specObjID", np.uint64, None),
    "plate": ("plate", np.int32, None),
    "mjd": ("mjd", np.int32, None),
    "fiber": ("fiberID", np.int32, None),
    "run2d": ("run2d", str, None),
    "ra": ("ra", np.float64, "deg"),
    "dec": ("dec", np.float64, "deg"),
    "z_pipe": ("z", np.float32, None),
    "z_pipe_err": ("zErr", np.float32, None),
    "class_pipe": ("class", str, None),
    "subclass_pipe": ("subClass", str, None),
    "zwarning_pipe": ("zWarning", np.int32, None),
    "sn_median": ("snMedian", np.float32, None),
    "instrument": ("instrument", str, None),
    "survey": ("survey", str, None),
    "science_primary": ("sciencePrimary", np.int32, None),
}

_CLASSES = ("STAR", "GALAXY", "QSO")
_INSTRUMENTS = ("SDSS", "BOSS")
_SURVEYS = ("sdss", "segue1", "segue2", "boss", "eboss")

# Longer requests are refused by the server, whose limit applies to the encoded URL.
_MAX_ENCODED = 3500

# The SELECT list, TOP and the condition that starts the next page.
_RESERVED = 600


@dataclass(frozen=True)
class Query:
    """A query in parts, so that it can be asked page by page.

    Parameters
    ----------
    source : str
        What follows FROM.
    where : str
        Condition; empty for none.
    by_position : bool
        Whether the source gives ``query_index`` and ``distance`` (arcmin).
    """

    source: str
    where: str
    by_position: bool = False

    def page(self, n_rows, after=None):
        """SQL of one page.

        Parameters
        ----------
        n_rows : int
            Number of rows at most.
        after : tuple of int, optional
            (query_index, specObjID) of the last row of the page before.

        Returns
        -------
        str
        """
        columns = ["n.query_index", "n.distance"] if self.by_position else []
        columns += [f"s.{name}" for name, _, _ in COLUMNS.values()]
        where = [self.where] if self.where else []
        order = "s.specObjID"
        if self.by_position:
            order = "n.query_index, s.specObjID"
        if after is not None:
            position, specobjid = (int(value) for value in after)
            later = f"s.specObjID > {specobjid}"
            if self.by_position:
                later = f"(n.query_index > {position} OR (n.query_index = {position} AND {later}))"
            where.append(later)
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        return f"SELECT TOP {int(n_rows)} {', '.join(columns)} FROM {self.source}{condition} ORDER BY {order}"


def conditions(*, cls=None, z_range=None, instrument=None, survey=None, zwarning=None, sn_min=None):
    """Conditions on the spectra, joined by AND.

    Parameters
    ----------
    cls, instrument, survey : str, optional
        One of the words that SDSS uses.
    z_range : (float or None, float or None), optional
        Limits of the pipeline's redshift, both included.
    zwarning : int, optional
        Bits of ZWARNING that may be set.
    sn_min : float, optional
        Least median signal-to-noise ratio.

    Returns
    -------
    str
        Empty if there are none.

    Raises
    ------
    ValueError, TypeError
        For a value that makes no sense.
    """
    parts = []
    for column, name, value, words in (
        ("class", "cls", cls, _CLASSES),
        ("instrument", "instrument", instrument, _INSTRUMENTS),
        ("survey", "survey", survey, _SURVEYS),
    ):
        if value is not None:
            parts.append(f"s.{column} = '{_word(name, value, words)}'")
    if z_range is not None:
        parts += _z_conditions(z_range)
    if zwarning is not None:
        allowed = index(zwarning)
        if not 0 <= allowed < 1 << 31:
            raise ValueError(f"zwarning must be bits of ZWARNING, not {zwarning!r}")
        parts.append(f"(s.zWarning & ~{allowed}) = 0" if allowed else "s.zWarning = 0")
    if sn_min is not None:
        parts.append(f"s.snMedian >= {_number('sn_min', sn_min)}")
    return " AND ".join(parts)


def _word(name, value, words):
    """The word of a list that a text stands for, whatever its case: nothing else gets into a query."""
    for word in words:
        if isinstance(value, str) and value.strip().lower() == word.lower():
            return word
    raise ValueError(f"{name} must be one of {', '.join(words)}, not {value!r}")


def _number(name, value):
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    return repr(value)


def _z_conditions(z_range):
    try:
        low, high = z_range
    except (TypeError, ValueError):
        raise ValueError(f"z_range must be two redshifts, not {z_range!r}") from None
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"z_range is empty: {low} to {high}")
    parts = [] if low is None else [f"s.z >= {_number('z_range', low)}"]
    return parts if high is None else [*parts, f"s.z <= {_number('z_range', high)}"]


def _table(primary):
    return "SpecObj AS s" if primary else "SpecObjAll AS s"


def _batches(terms, separator, fixed):
    """Split terms into lists that fit into one request beside the fixed text."""
    room = _MAX_ENCODED - _RESERVED - len(quote_plus(fixed))
    batch, length = [], 0
    for term in terms:
        size = len(quote_plus(term)) + len(quote_plus(separator))
        if batch and length + size > room:
            yield batch
            batch, length = [], 0
        batch.append(term)
        length += size
    if batch:
        yield batch


def criteria_query(where, *, primary=True):
    """The query for all spectra that meet conditions."""
    return Query(_table(primary), where)


def cone_queries(ra, dec, radius_arcmin, where="", *, primary=True):
    """Queries for spectra around positions.

    Parameters
    ----------
    ra, dec : `~numpy.ndarray`, shape (n,)
        ICRS, degrees.
    radius_arcmin : `~numpy.ndarray`, shape (n,)
        Arcmin.
    where : str
        Further conditions.
    primary : bool
        Only the best spectrum of each object.

    Returns
    -------
    list of Query
    """
    function = "fGetNearbySpecObjEq" if primary else "fGetNearbySpecObjAllEq"
    # 1e-7 degrees is a third of a milliarcsecond; more digits only make the request longer.
    terms = [
        f"SELECT {number} AS query_index, specObjID, distance FROM dbo.{function}({x:.7f},{y:.7f},{r:.5f})"
        for number, (x, y, r) in enumerate(zip(ra, dec, radius_arcmin, strict=True))
    ]
    join = " UNION ALL "
    table = f"JOIN {_table(primary)} ON s.specObjID = n.specObjID"
    return [
        Query(f"({join.join(batch)}) AS n {table}", where, by_position=True)
        for batch in _batches(terms, join, table + where)
    ]


def id_queries(specobjids, where="", *, primary=True):
    """Queries for spectra by specObjID, a list of int."""
    terms = [str(index(number)) for number in specobjids]
    extra = f" AND {where}" if where else ""
    return [
        Query(_table(primary), f"s.specObjID IN ({','.join(batch)}){extra}")
        for batch in _batches(terms, ",", extra)
    ]


def plate_queries(parts, where="", *, primary=True):
    """Queries for whole plates, nights or fibres.

    Parameters
    ----------
    parts : list of dict
        Each with one or more of the keys plate, mjd, fiber; values int.
    where : str
        Further conditions.
    primary : bool
        Only the best spectrum of each object.

    Returns
    -------
    list of Query
    """
    terms = dict.fromkeys(
        " AND ".join(f"s.{COLUMNS[name][0]} = {index(value)}" for name, value in part.items())
        for part in parts
    )
    terms = [f"({term})" for term in terms]
    extra = f" AND {where}" if where else ""
    return [
        Query(_table(primary), f"({' OR '.join(batch)}){extra}") for batch in _batches(terms, " OR ", extra)
    ]
