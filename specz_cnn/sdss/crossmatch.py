"""Our redshifts beside those of the SDSS quasar catalogue, DR16Q (Lyke B. W. et al., 2020, ApJS, 250, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from specz_cnn.io.tables import open_table
from specz_cnn.sdss.quasar_catalogue import known_redshifts, rows_by_name, spectrum_keys

if TYPE_CHECKING:
    from typing import Any

    from astropy.units import Quantity

__all__ = ["crossmatch_dr16q"]

# Column of the catalogue: our name.  All but the names of the spectrum and its position; those are for matching.
_REDSHIFTS = {
    "Z": "z_dr16q",
    "Z_VI": "z_vi",
    "Z_PIPE": "z_pipe",
    "Z_PCA": "z_pca",
    "Z_QN": "z_qn",
    "Z_DR12Q": "z_dr12q",
}
_OTHERS = {
    "Z_CONF": "z_conf",
    "CLASS_PERSON": "class_person",
    "ZWARN_PCA": "zwarn_pca",
    "SN_MEDIAN_ALL": "sn_median_all",
    "BAL_PROB": "bal_prob",
}
_NAME = ("PLATE", "MJD", "FIBERID")

_UNKNOWN_POSITION = -1


def crossmatch_dr16q(
    results: Any, catalogue: Any, *, match: str = "auto", radius: Quantity = 1 * u.arcsec
) -> QTable:
    """Join redshifts with those of a DR16Q catalogue.

    Parameters
    ----------
    results : `~astropy.table.Table`
        Table with columns ``plate, mjd, fiber``, or ``ra, dec`` (degrees where they have no unit), or both, such as
        :func:`~specz_cnn.fit_redshifts_cnn` and :func:`search_spectra` give.
    catalogue : path-like
        ``DR16Q_v4.fits`` or ``DR16Q_Superset_v3.fits``; or another table with these columns.
    match : {"auto", "id", "position"}
        By plate, MJD and fibre; by position; or by position where the name does not match.  The catalogue names
        one spectrum of each quasar, its position finds the others.
    radius : `~astropy.units.Quantity`
        Largest separation of a match by position.

    Returns
    -------
    `~astropy.table.QTable`
        Copy of `results`, all rows in their order, with the columns ``match_dr16q`` (``"id"``, ``"position"`` or
        empty), ``row_dr16q`` (row of the catalogue, -1 for none), ``z_dr16q, z_vi, z_pipe, z_pca, z_qn, z_dr12q``
        (NaN where there is none), ``z_conf, class_person, zwarn_pca`` (-1 where there is no match),
        ``sn_median_all`` and ``bal_prob`` (NaN where there is no match), as far as the catalogue has them.  A name
        that `results` already has gets ``_dr16q`` appended.

    Raises
    ------
    FileNotFoundError
        If there is no such catalogue.
    ValueError
        If it is no such catalogue, or if columns to match by are missing.
    """
    if match not in ("auto", "id", "position"):
        raise ValueError(f"match must be 'auto', 'id' or 'position', not {match!r}")
    radius = u.Quantity(radius).to(u.deg)
    columns = _read(catalogue)
    joined = QTable(results, copy=True)
    rows = np.full(len(joined), -1)
    by_id = {"plate", "mjd", "fiber"} <= set(joined.colnames) and match != "position"
    by_position = {"ra", "dec"} <= set(joined.colnames) and match != "id"
    if not (by_id or by_position):
        raise ValueError("the results have no columns to match by: plate, mjd and fiber, or ra and dec")
    how = np.full(len(joined), "", dtype="U8")
    if by_id:
        keys = spectrum_keys(*(columns[name] for name in _NAME))
        rows = rows_by_name(keys, spectrum_keys(joined["plate"], joined["mjd"], joined["fiber"]))
        how[rows >= 0] = "id"
    if by_position:
        rest = np.flatnonzero(rows < 0)
        rows[rest] = _match_positions(joined[rest], columns, radius)
        how[rest[rows[rest] >= 0]] = "position"
    joined["match_dr16q"] = how
    joined["row_dr16q"] = rows
    _add_columns(joined, columns, rows)
    return joined


def _read(catalogue):
    """Those columns of the catalogue that are needed, by upper-case name."""
    wanted = (*_NAME, "RA", "DEC", *_REDSHIFTS, *_OTHERS)
    table = open_table(catalogue)
    names = {name.upper(): name for name in table.colnames}
    missing = [name for name in (*_NAME, "RA", "DEC") if name not in names]
    if missing:
        raise ValueError(f"{catalogue} is no DR16Q catalogue: it has no column {', '.join(missing)}")
    return {name: np.asarray(table[names[name]]) for name in wanted if name in names}


def _match_positions(results, columns, radius):
    """Row of the nearest quasar within the radius, -1 for none."""
    rows = np.full(len(results), -1)
    ra, dec = (_degrees(results[name]) for name in ("ra", "dec"))
    good = np.flatnonzero(
        np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90) & (ra != _UNKNOWN_POSITION)
    )
    if not good.size or not len(columns["RA"]):
        return rows
    quasars = SkyCoord(columns["RA"], columns["DEC"], unit=u.deg)
    nearest, separation, _ = SkyCoord(ra[good], dec[good], unit=u.deg).match_to_catalog_sky(quasars)
    close = separation <= radius
    rows[good[close]] = nearest[close]
    return rows


def _degrees(column):
    if isinstance(column, u.Quantity):
        return np.asarray(column.to_value(u.deg), dtype=float)
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def _add_columns(joined, columns, rows):
    found = rows >= 0
    for name, ours in (_REDSHIFTS | _OTHERS).items():
        if name not in columns:
            continue
        values = columns[name]
        integer = values.dtype.kind in "iu"
        column = np.full(len(rows), -1) if integer else np.full(len(rows), np.nan)
        column[found] = values[rows[found]]
        if name in _REDSHIFTS:
            column = known_redshifts(column)
        joined[f"{ours}_dr16q" if ours in joined.colnames else ours] = column
