"""Verdicts of visual inspection: the files that the page exports, and the merging of several inspectors' files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import MaskedColumn, Table, vstack

from specz_cnn.io.tables import read_table, write_table
from specz_cnn.velocity import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import QTable

    from specz_cnn.typing import PathLike

__all__ = [
    "CLASSES",
    "ISSUES",
    "VERDICT_COLUMNS",
    "disagreements",
    "merge_verdicts",
    "read_verdicts",
    "write_verdicts",
]

#: Columns of a file of verdicts, and what they hold.
VERDICT_COLUMNS = {
    "file": "file name without directory",
    "plate": "SDSS plate; -1 where unknown",
    "mjd": "modified Julian date of the observation; -1 where unknown",
    "fiber": "fibre; -1 where unknown",
    "z": "redshift that was inspected; empty where there was none",
    "z_vi": "redshift by visual inspection; empty where it was rejected",
    "class_person": "class by visual inspection, with the numbers of DR16Q",
    "z_conf": "confidence of the inspector in z_vi, 0 to 3 as in DR16Q",
    "verdict": "accept, correct or reject; in a merged file also disagree",
    "comment": "free text",
    "inspector": "who looked; in a merged file all who did",
    "date": "when, ISO 8601 in UTC",
    "issues": "what is wrong with the spectrum: sky, calibration, two_objects, separated by blanks",
}

#: Classes that the page offers: key, CLASS_PERSON of DR16Q (Lyke et al. 2020, ApJS 250, 8), name. 0 is "not inspected"
#: in DR16Q; here the column verdict tells that somebody looked and could not decide.
CLASSES = (
    {"key": "q", "number": 3, "name": "quasar"},
    {"key": "b", "number": 30, "name": "BAL quasar"},
    {"key": "g", "number": 4, "name": "galaxy"},
    {"key": "s", "number": 1, "name": "star"},
    {"key": "l", "number": 50, "name": "blazar"},
    {"key": "u", "number": 0, "name": "unknown"},
)

#: What may be wrong with a spectrum: key, name in the column ``issues``, text of the page.
ISSUES = (
    {"key": "4", "name": "sky", "text": "bad sky"},
    {"key": "5", "name": "calibration", "text": "bad calibration"},
    {"key": "6", "name": "two_objects", "text": "two objects"},
)

# Columns that files of earlier versions lack.
_OPTIONAL = ("issues",)

_VERDICTS = ("accept", "correct", "reject", "disagree")
_TYPES = {
    "plate": int,
    "mjd": int,
    "fiber": int,
    "z": float,
    "z_vi": float,
    "class_person": int,
    "z_conf": int,
}
_MISSING = {
    "plate": -1,
    "mjd": -1,
    "fiber": -1,
    "z": math.nan,
    "z_vi": math.nan,
    "class_person": 0,
    "z_conf": 0,
}
_BAL, _QUASAR = 30, 3


def read_verdicts(path: PathLike) -> QTable:
    """Read a file of verdicts.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        CSV exported by the inspection page; or merged, in any format that `~specz_cnn.io.tables.read_table` knows.

    Returns
    -------
    `~astropy.table.Table`
        The columns of `VERDICT_COLUMNS`; NaN where a redshift is empty.

    Raises
    ------
    ValueError
        If a column is missing or a value makes no sense; the message names the file and the row.
    """
    table = read_table(path, text=[name for name in VERDICT_COLUMNS if name not in _TYPES])
    if missing := [name for name in VERDICT_COLUMNS if name not in (*table.colnames, *_OPTIONAL)]:
        raise ValueError(f"{path} is not a file of verdicts: it lacks {', '.join(missing)}")
    rows = []
    for number, row in enumerate(table, 1):
        try:
            rows.append(
                _checked({name: row[name] if name in table.colnames else "" for name in VERDICT_COLUMNS})
            )
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return _as_table(rows)


def _checked(values):
    """Values of one row, of their types."""
    for name, value in values.items():
        text = "" if value is np.ma.masked else str(value).strip()
        if name not in _TYPES:
            values[name] = text
        else:
            values[name] = _TYPES[name](value) if text not in ("", "nan") else _MISSING[name]
    if values["verdict"] not in _VERDICTS:
        raise ValueError(f"unknown verdict {values['verdict']!r}")
    if unknown := set(values["issues"].split()) - {issue["name"] for issue in ISSUES}:
        raise ValueError(f"unknown issues: {', '.join(sorted(unknown))}")
    if not 0 <= values["z_conf"] <= 3:
        raise ValueError(f"z_conf must be 0 to 3, not {values['z_conf']}")
    return values


def _as_table(rows):
    table = Table()
    for name, description in VERDICT_COLUMNS.items():
        kind = _TYPES.get(name, str)
        table[name] = np.array([row[name] for row in rows], dtype=kind)
        table[name].description = description
    return table


def write_verdicts(table: Table, path: PathLike) -> None:
    """Write verdicts, redshifts with six digits and unknown ones empty.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With the columns of `VERDICT_COLUMNS`; more are written behind them.
    path : str or `~pathlib.Path`
        The ending tells the format, as for `~specz_cnn.io.tables.write_table`; the page reads CSV.
    """
    names = [*VERDICT_COLUMNS, *(name for name in table.colnames if name not in VERDICT_COLUMNS)]
    table = table[names]
    for name in ("z", "z_vi"):
        values = np.round(np.asarray(table[name], dtype=float), 6)
        table[name] = MaskedColumn(values, mask=~np.isfinite(values), description=VERDICT_COLUMNS[name])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path)


def merge_verdicts(tables: Any, *, tolerance: float = 1000.0) -> QTable:
    """Merge the verdicts of several inspectors into one row for each spectrum.

    Inspectors agree on a spectrum if all give the same class (a quasar with or without broad absorption counts as the
    same) and redshifts within the tolerance, or all reject the redshift. Then the merged row has the median redshift, the
    class that most gave, and the confidence of the least sure. Otherwise the merged verdict is ``"disagree"``, without a
    redshift, a class or confidence, so that no later step takes one side. Of several verdicts of one inspector on one
    spectrum the latest counts.

    Parameters
    ----------
    tables : iterable of `~astropy.table.Table`
        From `read_verdicts`.
    tolerance : float, optional
        Largest difference of redshifts that agree, in km/s.

    Returns
    -------
    `~astropy.table.Table`
        The columns of `VERDICT_COLUMNS`, ``n_inspectors``, and ``disagreement``, which says in words what the inspectors
        differ in and is empty where they agree. Rows are in the order in which spectra first appear.

    Raises
    ------
    ValueError
        If there is no table, or a row names no spectrum.
    """
    tables = list(tables)
    if not tables:
        raise ValueError("no verdicts to merge")
    groups: dict[Any, dict[str, Any]] = {}
    for row in vstack(tables, metadata_conflicts="silent"):
        row = dict(zip(row.colnames, row, strict=True))
        votes = groups.setdefault(_spectrum_key(row), {})
        known = votes.get(row["inspector"])
        if known is None or row["date"] >= known["date"]:
            votes[row["inspector"]] = row
    merged = [_merge_votes(list(votes.values()), tolerance) for votes in groups.values()]
    table = _as_table(merged)
    table["n_inspectors"] = np.array([row["n_inspectors"] for row in merged], dtype=int)
    table["disagreement"] = np.array([row["disagreement"] for row in merged], dtype=str)
    return table


def _spectrum_key(row):
    if min(row["plate"], row["mjd"], row["fiber"]) >= 0:
        return int(row["plate"]), int(row["mjd"]), int(row["fiber"])
    if not row["file"]:
        raise ValueError("a verdict names no spectrum: neither plate, mjd and fiber nor a file")
    return str(row["file"])


def _merge_votes(votes, tolerance):
    """One row from the verdicts of all inspectors on one spectrum."""
    words = _differences(votes, tolerance)
    merged = dict(votes[0])
    merged |= {
        "comment": " | ".join(_signed(vote, vote["comment"], votes) for vote in votes if vote["comment"]),
        "inspector": ";".join(str(vote["inspector"]) for vote in votes),
        "date": max(str(vote["date"]) for vote in votes),
        # What one inspector has seen is there, whoever else has not.
        "issues": " ".join(sorted({issue for vote in votes for issue in str(vote["issues"]).split()})),
        "n_inspectors": len(votes),
        "disagreement": "; ".join(words),
    }
    if words:
        return merged | {"verdict": "disagree", "z_vi": math.nan, "class_person": 0, "z_conf": 0}
    classes = [int(vote["class_person"]) for vote in votes]
    accepted = all(vote["verdict"] == "accept" for vote in votes)
    rejected = all(vote["verdict"] == "reject" for vote in votes)
    return merged | {
        "verdict": "reject" if rejected else "accept" if accepted else "correct",
        "z_vi": math.nan if rejected else float(np.median([vote["z_vi"] for vote in votes])),
        # Of equally frequent classes the one named first.
        "class_person": max(classes, key=classes.count),
        "z_conf": min(int(vote["z_conf"]) for vote in votes),
    }


def _differences(votes, tolerance):
    """What the inspectors differ in, in words; empty if they agree."""
    words = []
    classes = {_QUASAR if vote["class_person"] == _BAL else int(vote["class_person"]) for vote in votes}
    if len(classes) > 1:
        names = {entry["number"]: entry["name"] for entry in CLASSES}
        named = (
            _signed(vote, names.get(int(vote["class_person"]), str(vote["class_person"])), votes)
            for vote in votes
        )
        words.append("class: " + ", ".join(named))
    # "disagree" is the verdict of a file that was merged before.
    refused = [vote["verdict"] in ("reject", "disagree") or not math.isfinite(vote["z_vi"]) for vote in votes]
    z = np.array([vote["z_vi"] for vote in votes], dtype=float)
    unresolved = any(vote["verdict"] == "disagree" for vote in votes)
    apart = not any(refused) and SPEED_OF_LIGHT * np.ptp(np.log1p(z)) > tolerance
    if unresolved or apart or any(refused) != all(refused):
        texts = (
            _signed(vote, vote["verdict"] if no else f"{vote['z_vi']:.4f}", votes)
            for vote, no in zip(votes, refused, strict=True)
        )
        words.append("z: " + ", ".join(texts))
    return words


def _signed(vote, text, votes):
    """What one inspector says, with the name where there are several."""
    return f"{vote['inspector'] or 'anonymous'} {text}" if len(votes) > 1 else str(text)


def disagreements(merged: Table) -> QTable:
    """Rows of merged verdicts on which the inspectors do not agree.

    Parameters
    ----------
    merged : `~astropy.table.Table`
        From `merge_verdicts`.

    Returns
    -------
    `~astropy.table.Table`
    """
    return merged[merged["verdict"] == "disagree"]
