"""Find SDSS spectra by position, by name or by what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from specz_cnn.config import conf
from specz_cnn.sdss.archive import reductions
from specz_cnn.sdss.ids import SpecID, as_specids
from specz_cnn.sdss.skyserver import query_payload, run_sql
from specz_cnn.sdss.sql import (
    COLUMNS,
    conditions,
    cone_queries,
    criteria_query,
    id_queries,
    plate_queries,
)

if TYPE_CHECKING:
    from typing import Any

    from astropy.units import Quantity

__all__ = ["search_spectra"]

# SkyServer gives no more than 500,000 rows to a query, and stops those that take minutes.
_PAGE_ROWS = 50_000

_NAMES = list(COLUMNS)


def search_spectra(
    coordinates: SkyCoord | None = None,
    *,
    radius: Quantity = 2 * u.arcsec,
    ids: Any = None,
    plate: Any = None,
    mjd: Any = None,
    fiber: Any = None,
    cls: Any = None,
    z_range: tuple[float, float] | None = None,
    instrument: Any = None,
    survey: Any = None,
    zwarning: int | None = None,
    sn_min: float | None = None,
    science_primary: bool = True,
    max_rows: int | None = None,
    data_release: int | None = None,
    get_query_payload: bool = False,
) -> Any:
    """Find spectra of SDSS with SkyServer.

    Give at most one of `coordinates`, `ids` and plate, MJD, fibre; the other arguments narrow the choice down, or
    make it alone.

    Parameters
    ----------
    coordinates : `~astropy.coordinates.SkyCoord`, optional
        One position or many.
    radius : `~astropy.units.Quantity`
        Around the positions; a scalar, or one for each.
    ids : SpecID, int, str, table, or iterable of these, optional
        Names of spectra, as for :func:`download_spectra`; integers are specObjIDs.
    plate, mjd, fiber : int or array-like of int, optional
        They are broadcast against each other.  What is left out is free: a plate alone finds all its spectra.
    cls : {"QSO", "GALAXY", "STAR"}, optional
        Class by the survey's pipeline.
    z_range : (float or None, float or None), optional
        Limits of the pipeline's redshift, both included.
    instrument : {"SDSS", "BOSS"}, optional
        Spectrograph.
    survey : {"sdss", "segue1", "segue2", "boss", "eboss"}, optional
        Survey.
    zwarning : int, optional
        Bits of ZWARNING that may be set; 0 for redshifts without any warning.
    sn_min : float, optional
        Least median signal-to-noise ratio per pixel.
    science_primary : bool
        Only the best spectrum of each object.  False finds repeated and poor spectra, too.
    max_rows : int, optional
        No more rows than this.
    data_release : int, optional
        ``conf.data_release`` if not given.
    get_query_payload : bool
        Do not ask, but return what would be asked.

    Returns
    -------
    `~astropy.table.QTable`
        One row for each match, in order of ``query_index``, the position in the input that the row belongs to (0 if
        there are no positions or names), and then of separation or specObjID.  Columns: ``query_index, specobjid``
        (uint64), ``plate, mjd, fiber, run2d, ra, dec`` (deg), ``z_pipe, z_pipe_err, class_pipe, subclass_pipe,
        zwarning_pipe, sn_median, instrument, survey, science_primary``, and for positions ``separation`` (arcsec).
        Without matches it has no rows.  ``meta`` holds ``data_release``, ``skyserver``, ``sql`` (the first query),
        ``n_queries``, ``unmatched`` (positions in the input without a match) and ``truncated`` (whether `max_rows`
        cut matches off).

        With `get_query_payload`, a list of dict, one for each request (its first page), with the SQL under ``cmd``.

    Raises
    ------
    SDSSError
        If SkyServer cannot be reached or refuses the query.
    TypeError, ValueError
        If an argument makes no sense, or there is none.
    """
    where = conditions(
        cls=cls, z_range=z_range, instrument=instrument, survey=survey, zwarning=zwarning, sn_min=sn_min
    )
    if max_rows is not None and not max_rows > 0:
        raise ValueError(f"max_rows must be positive, not {max_rows!r}")
    release = conf.data_release if data_release is None else data_release
    queries, links = _plan(coordinates, radius, ids, (plate, mjd, fiber), where, science_primary, release)
    if get_query_payload:
        n_rows = min(max_rows or _PAGE_ROWS, _PAGE_ROWS)
        return [query_payload(query.page(n_rows), data_release=release) for query in queries]
    rows, truncated = _run(queries, max_rows, release)
    table = _make_table(rows, by_position=coordinates is not None)
    table, n_inputs = links(table)
    found = set(table["query_index"].tolist())
    table.meta |= {
        "data_release": release,
        "skyserver": conf.skyserver_baseurl,
        "sql": queries[0].page(_PAGE_ROWS) if queries else "",
        "n_queries": len(queries),
        "unmatched": [] if truncated else [number for number in range(n_inputs) if number not in found],
        "truncated": truncated,
    }
    return table


def _plan(coordinates, radius, ids, parts, where, primary, release):
    """Queries to ask, and a function that puts the table of their answers in order of the inputs."""
    given = (coordinates is not None) + (ids is not None) + any(part is not None for part in parts)
    if given > 1:
        raise ValueError("give only one of coordinates, ids, and plate, mjd and fiber")
    if coordinates is not None:
        ra, dec, radii = _positions(coordinates, radius)
        return cone_queries(ra, dec, radii, where, primary=primary), _link_positions(len(ra))
    if ids is not None:
        names = as_specids(ids)
        return id_queries(_candidates(names, release), where, primary=primary), _link_names(names)
    if given:
        wanted = _broadcast(parts)
        if all(part is not None for part in parts):
            names = [SpecID(**part) for part in wanted]
            return id_queries(_candidates(names, release), where, primary=primary), _link_names(names)
        return plate_queries(wanted, where, primary=primary), _link_parts(wanted)
    if not where:
        raise ValueError(
            "nothing to search for: give coordinates, ids, a plate, or conditions such as cls='QSO'"
        )
    return [criteria_query(where, primary=primary)], lambda table: (table, 0)


def _positions(coordinates, radius):
    """Right ascension and declination in degrees and radius in arcmin, each of shape (n,)."""
    if not isinstance(coordinates, SkyCoord):
        raise TypeError(f"coordinates must be a SkyCoord, not {type(coordinates).__name__}")
    position = coordinates.icrs.ravel() if coordinates.shape else coordinates.icrs.reshape(1)
    ra, dec = position.ra.deg, position.dec.deg
    bad = np.flatnonzero(~(np.isfinite(ra) & np.isfinite(dec)))
    if bad.size:
        raise ValueError(f"position {bad[0]} is not finite")
    try:
        radii = np.broadcast_to(u.Quantity(radius).to_value(u.arcmin), coordinates.shape).ravel()
    except (u.UnitsError, TypeError, ValueError):
        raise ValueError(
            f"radius must be an angle, one for all positions or one for each, not {radius!r}"
        ) from None
    if not (np.isfinite(radii).all() and (radii > 0).all()):
        raise ValueError(f"radius must be positive, not {radius!r}")
    return ra, dec, np.broadcast_to(radii, ra.shape)


def _broadcast(parts):
    """Plate, MJD and fibre of each input, without those that are free."""
    given = {
        name: part for name, part in zip(("plate", "mjd", "fiber"), parts, strict=True) if part is not None
    }
    arrays = [np.asarray(part) for part in given.values()]
    for name, array in zip(given, arrays, strict=True):
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be an integer, not of type {array.dtype}")
    try:
        arrays = [array.ravel().tolist() for array in np.broadcast_arrays(*arrays)]
    except ValueError:
        raise ValueError("plate, mjd and fiber do not have the same length") from None
    return [dict(zip(given, values, strict=True)) for values in zip(*arrays, strict=True)]


def _candidates(names, release):
    """SpecObjIDs that the names may stand for, each once."""
    numbers = {}
    for name in names:
        runs = (name.run2d,) if name.run2d is not None else reductions(name.plate, release)
        for run2d in runs:
            numbers[SpecID(name.plate, name.mjd, name.fiber, run2d).specobjid] = None
    return list(numbers)


def _run(queries, max_rows, release):
    """Rows of all queries, page by page, and whether there are more."""
    rows = []
    for query in queries:
        columns = ["query_index", "distance"] if query.by_position else []
        columns += [name for name, _, _ in COLUMNS.values()]
        after = None
        while True:
            # One row more than wanted tells whether there are more.
            n_rows = _PAGE_ROWS if max_rows is None else min(_PAGE_ROWS, max_rows - len(rows) + 1)
            page = run_sql(query.page(n_rows, after), columns, data_release=release)
            rows += page
            if max_rows is not None and len(rows) > max_rows:
                return rows[:max_rows], True
            if len(page) < n_rows:
                break
            offset = 2 if query.by_position else 0
            after = (page[-1][0] if query.by_position else 0, page[-1][offset])
    return rows, False


def _make_table(rows, *, by_position):
    """Answers as a table with types and units, which do not depend on what the answers are."""
    names = ["query_index", "separation", *_NAMES] if by_position else _NAMES
    types = {name: dtype for name, (_, dtype, _) in COLUMNS.items()}
    types |= {"query_index": np.int64, "separation": np.float64}
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    table = QTable()
    for name, values in zip(names, columns, strict=True):
        table[name] = _convert(values, types[name])
    if by_position:
        table["separation"] = (table["separation"] * u.arcmin).to(u.arcsec)
    else:
        table.add_column(np.zeros(len(table), dtype=np.int64), name="query_index", index=0)
    for name, (_, _, unit) in COLUMNS.items():
        if unit:
            table[name] = table[name] * u.Unit(unit)
    return table["query_index", *_NAMES, *(["separation"] if by_position else [])]


def _convert(values, dtype):
    """Text to numbers; integers never pass through a float."""
    if dtype is str:
        return np.array(values, dtype=str) if values else np.array([], dtype="U8")
    if np.dtype(dtype).kind == "f":
        return np.array([float(value) if _known(value) else np.nan for value in values], dtype=dtype)
    return np.array([int(value) if _known(value) else -1 for value in values], dtype=dtype)


def _known(value):
    return value and value.lower() not in ("null", "nan")


def _link_positions(n_inputs):
    def link(table):
        return table[np.lexsort((table["separation"].value, table["query_index"]))], n_inputs

    return link


def _link_names(names):
    """Rows in order of the names, one for each time that a name was given."""
    wanted = {}
    for number, name in enumerate(names):
        wanted.setdefault((name.plate, name.mjd, name.fiber), []).append((number, name.run2d))

    def matches(row):
        *key, run2d = row
        return [number for number, wish in wanted.get(tuple(key), ()) if wish in (None, run2d)]

    return lambda table: (_repeat(table, matches, ("plate", "mjd", "fiber", "run2d")), len(names))


def _link_parts(parts):
    keys = tuple(parts[0]) if parts else ()
    wanted = {}
    for number, part in enumerate(parts):
        wanted.setdefault(tuple(part.values()), []).append(number)
    return lambda table: (_repeat(table, lambda row: wanted.get(tuple(row), []), keys), len(parts))


def _repeat(table, matches, keys):
    """Each row as many times as there are inputs that it belongs to, in order of the inputs."""
    linked = []
    for position, row in enumerate(zip(*(table[key].tolist() for key in keys), strict=True)):
        linked += [(number, position) for number in matches(row)]
    linked.sort()
    table = table[[position for _, position in linked]]
    table["query_index"] = np.array([number for number, _ in linked], dtype=np.int64)
    return table
