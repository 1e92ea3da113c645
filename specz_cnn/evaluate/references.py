"""Reference redshifts and classes: labels tables, DR16Q catalogues, verdicts of inspection; joining them.

Whatever the source, `read_labels` gives the columns of `LABEL_COLUMNS`, and one more column for each further
estimate of the redshift that the source holds.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from specz_cnn.evaluate.split import groups_from_positions, split_half
from specz_cnn.io.names import parse_file_name
from specz_cnn.io.tables import open_table, read_table
from specz_cnn.sdss.quasar_catalogue import MAX_FIBER, known_redshifts, rows_by_name, spectrum_keys
from specz_cnn.velocity import velocity_difference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


__all__ = ["CLASS_PERSON", "ESTIMATORS", "LABEL_COLUMNS", "match_results", "read_labels"]

#: Columns of a labels table and what they hold.
LABEL_COLUMNS = {
    "file": "file name without directory; empty where unknown",
    "plate": "SDSS plate; -1 where unknown",
    "mjd": "modified Julian date of the observation; -1 where unknown",
    "fiber": "fibre; -1 where unknown",
    "z_true": "reference redshift; NaN where there is none",
    "cls": "QSO, GALAXY, STAR or BLAZAR; empty where unknown",
    "bal": "whether it has broad absorption lines",
    "trust": "3 visual inspection, 2 confirmed, 1 not confirmed, 0 contradicted",
    "group": "the object on the sky",
    "half": "half of the labelled data: calibration or validation",
    "snr_label": "median signal-to-noise ratio per pixel; NaN where unknown",
}

#: Redshift columns that are compared with the reference, and their names in figures.
ESTIMATORS = {
    "z": "specz-cnn",
    "z_check": "cross-check",
    "z_vi": "visual inspection",
    "z_pipe": "SDSS pipeline",
    "z_pca": "PCA",
    "z_qn": "QuasarNET",
    "z_dr12q": "DR12Q",
    "z_dr7q_sch": "DR7Q (Schneider)",
    "z_dr7q_hw": "DR7Q (Hewett & Wild)",
    "z_dr6q_hw": "DR6Q (Hewett & Wild)",
    "z_redrock": "redrock",
}

#: Classes given by a person in DR16Q (Lyke B. W. et al., 2020, ApJS, 250, 8); 0 means not inspected.
CLASS_PERSON = {1: "STAR", 3: "QSO", 4: "GALAXY", 30: "QSO", 50: "BLAZAR"}
_BAL_PERSON = 30

# Probability of broad absorption above which a DR16Q quasar is taken for one (Lyke et al. 2020).
_BAL_PROB = 0.75

# A visual redshift with a lower Z_CONF is a guess.
_GOOD_Z_CONF = 2

# An estimate this close to the reference, in km/s, is the reference (rounded to six digits).
_IDENTICAL = 1.0


# Names that tables use for one thing; the first one there counts.
_ALIASES = {
    "file": ("file", "filename", "path"),
    "fiber": ("fiber", "fiberid"),
    "cls": ("cls", "class"),
    "snr_label": ("snr", "sn", "median_sn", "sn_median_all"),
    "group": ("group", "thing_id"),
}

_RESULT_FLOATS = ("z_err", "z_lo", "z_hi", "confidence", "p_qso", "z_second", "p_second", "snr", "coverage")


class _Columns:
    """Columns of a table by lower-case name, as plain arrays in which missing values are NaN or empty."""

    def __init__(self, table):
        if isinstance(table, (str, Path)):
            table = open_table(table)
        self.table = table
        self.names = {name.lower(): name for name in table.colnames}

    def __contains__(self, name):
        return any(alias in self.names for alias in _ALIASES.get(name, (name,)))

    def get(self, name):
        """One column as a masked array, or None."""
        for alias in _ALIASES.get(name, (name,)):
            if alias in self.names:
                column = self.table[self.names[alias]]
                return np.ma.asarray(getattr(column, "value", column))
        return None

    def floats(self, name):
        column = self.get(name)
        if column is None:
            return np.full(len(self.table), np.nan)
        if column.dtype.kind in "USO":
            return np.array([float(text) if text else np.nan for text in self.text(name)], dtype=float)
        return np.ma.filled(column.astype(float), np.nan)

    def redshifts(self, name):
        return known_redshifts(self.floats(name))

    def integers(self, name, missing):
        values = self.floats(name)
        return np.where(np.isfinite(values), values, missing).astype(np.int64)

    def text(self, name):
        column = self.get(name)
        if column is None:
            return np.full(len(self.table), "", dtype=str)
        # Through str one by one where bytes or objects hide the text.
        values = (
            column.filled().astype(str)
            if column.dtype.kind != "O"
            else np.array([str(x) for x in column.data])
        )
        return np.where(np.ma.getmaskarray(column), "", np.char.strip(values))


def read_labels(source: Any, *, truth: str | None = None, where: Mapping[str, Any] | None = None) -> Table:
    """Read reference redshifts and classes.

    Understood are a labels table (columns ``z``, ``cls`` and, if there, ``trust`` and ``group``), the DR16Q
    catalogue and its superset (``PLATE MJD FIBERID Z Z_VI Z_CONF CLASS_PERSON Z_PIPE Z_PCA Z_QN ...``, where
    -1 means missing), and the verdicts of a visual inspection (``plate, mjd, fiber, z_vi, class_person,
    z_conf, comment``). Names are found whatever their case.

    The reference is ``z`` of a table that states its ``trust``; otherwise ``z_vi`` where a person was sure of
    it (``z_conf`` at least 2, or not stated), then ``z``, then an unsure ``z_vi``, with a trust of 3, 2 and
    1.

    Parameters
    ----------
    source : str, `~pathlib.Path` or `~astropy.table.Table`
        The table, or its file, of any format that `read_table` knows.
    truth : str, optional
        Column to take the reference redshift from instead, for example ``"z_vi"``.
    where : dict of str to str or collection of str, optional
        Keep the rows in which these columns have (one of) these values, for example ``{"survey": "BOSS"}``.

    Returns
    -------
    `~astropy.table.Table`
        The columns of `LABEL_COLUMNS`, then one for each of `ESTIMATORS` that is there. An estimator that is
        itself the reference throughout is left out. ``meta["truth"]`` says where the reference came from.

    Raises
    ------
    ValueError
        If there is no redshift, nothing that identifies spectra, or not a column that was named.
    """
    columns = _Columns(source)
    z_true, trust, origin = _reference(columns, truth)
    labels = Table(_identity(columns))
    if not (labels["plate"] >= 0).any() and not (labels["file"] != "").any():
        raise ValueError("the labels identify no spectrum: neither plate, mjd and fiber nor file names")
    labels["z_true"] = z_true
    labels["cls"], labels["bal"] = _classes(columns)
    labels["trust"] = trust
    labels["group"] = _groups(columns, labels)
    labels["half"] = split_half(labels["group"])
    labels["snr_label"] = columns.floats("snr_label")
    for name, description in LABEL_COLUMNS.items():
        labels[name].description = description
    for name, description in ESTIMATORS.items():
        if name in columns and name not in ("z", "z_check"):
            labels[name] = columns.redshifts(name)
            labels[name].description = description
    labels = labels[_selected(columns, where or {})]
    if len(labels) == 0:
        raise ValueError(f"no label fulfils {where}" if where else "the table of labels has no rows")
    for name in ESTIMATORS:
        if name in labels.colnames:
            dv = velocity_difference(labels[name], labels["z_true"])
            if not np.any(np.abs(dv[np.isfinite(dv)]) > _IDENTICAL):
                labels.remove_column(name)
    labels.meta["truth"] = origin
    if isinstance(source, (str, Path)):
        labels.meta["labels"] = Path(source).name
    return labels


def _selected(columns, where):
    """Rows in which the columns have the wanted values."""
    chosen = np.ones(len(columns.table), bool)
    for name, values in where.items():
        if name.lower() not in columns:
            raise ValueError(f"the labels have no column {name!r}")
        chosen &= np.isin(columns.text(name.lower()), [values] if isinstance(values, str) else sorted(values))
    return chosen


def _reference(columns, truth):
    """Reference redshift, its trust, and where it came from, in words."""
    stated = columns.integers("trust", 0) if "trust" in columns else None
    if truth is not None:
        if truth.lower() not in columns:
            raise ValueError(f"the labels have no column {truth!r}")
        z = columns.redshifts(truth.lower())
        visual = _visual_trust(columns) if truth.lower() == "z_vi" else np.full(z.size, 2)
        return z, visual if stated is None else stated, truth.lower()
    if _are_verdicts(columns):
        trust = np.where(columns.text("verdict") == "disagree", 0, _visual_trust(columns))
        return columns.redshifts("z_vi"), trust, "z_vi"
    if stated is not None and "z" in columns:
        return columns.redshifts("z"), stated, "z"
    if "z" not in columns and "z_vi" not in columns:
        raise ValueError("the labels have neither a column 'z' nor 'z_vi'; name the one to use with 'truth'")
    z, z_vi, trust_vi = columns.redshifts("z"), columns.redshifts("z_vi"), _visual_trust(columns)
    visual = np.isfinite(z_vi) & ((trust_vi >= 2) | ~np.isfinite(z))
    origin = " else ".join(name for name in ("z_vi", "z") if name in columns)
    trust = np.where(visual | ("z" not in columns), trust_vi, 2)
    return np.where(visual, z_vi, z), trust, origin


def _are_verdicts(columns):
    """Whether these are verdicts of an inspection rather than a catalogue."""
    return "z_vi" in columns and ("verdict" in columns or "comment" in columns)


def _visual_trust(columns):
    """Trust in visual redshifts: 3 if the person was sure or nothing is said about it, else 1."""
    z_conf = columns.floats("z_conf")
    return np.where((z_conf >= 0) & (z_conf < _GOOD_Z_CONF), 1, 3)


def _identity(columns):
    """File name, plate, mjd and fiber, the latter from the file name where they are missing."""
    name = np.array([text.replace("\\", "/").rsplit("/", 1)[-1] for text in columns.text("file")], dtype=str)
    plate, mjd, fiber = (columns.integers(key, -1) for key in ("plate", "mjd", "fiber"))
    for row in np.flatnonzero((plate < 0) | (mjd < 0) | (fiber < 0)):
        numbers = parse_file_name(name[row])
        if numbers and numbers[2] < MAX_FIBER:
            plate[row], mjd[row], fiber[row] = numbers
    return {"file": name, "plate": plate, "mjd": mjd, "fiber": fiber}


def _classes(columns):
    """Class and whether there are broad absorption lines."""
    cls = np.char.upper(columns.text("cls")).astype("U8")
    cls[cls == "QUASAR"] = "QSO"
    person = columns.integers("class_person", 0)
    for number, name in CLASS_PERSON.items():
        cls[person == number] = name
    unknown = cls == ""
    if "is_qso_final" in columns:
        cls[unknown & (columns.floats("is_qso_final") > 0)] = "QSO"
    elif "cls" not in columns and "z" in columns and not _are_verdicts(columns):
        # A catalogue that gives a redshift and no class is a catalogue of quasars.
        cls[unknown] = "QSO"
    bal = (person == _BAL_PERSON) | (columns.floats("bal_prob") >= _BAL_PROB)
    bal |= np.char.find(np.char.upper(columns.text("subclass")), "BAL") >= 0
    return cls, bal & (cls == "QSO")


def _groups(columns, labels):
    """Objects on the sky: as the table says, else by position, else every spectrum by itself."""
    identity = zip(*(labels[name].tolist() for name in ("plate", "mjd", "fiber", "file")), strict=True)
    own = np.array([f"{p}-{m}-{f}" if p >= 0 else name for p, m, f, name in identity], dtype=str)
    if "group" in columns:
        group = columns.text("group")
        # THING_ID is 0 or -1 for objects without imaging.
        return np.where(np.isin(group, ["", "0", "-1"]) & ("thing_id" in columns), own, group)
    if "ra" in columns and "dec" in columns:
        return groups_from_positions(columns.floats("ra"), columns.floats("dec"), own)
    return own


def match_results(results: Any, labels: Table) -> Table:
    """Join measured redshifts with reference ones, by plate, mjd and fiber, else by file name.

    Parameters
    ----------
    results : str, `~pathlib.Path` or `~astropy.table.Table`
        A table of results, or its file. Of its columns only ``z`` is needed.
    labels : `~astropy.table.Table`
        From `read_labels`.

    Returns
    -------
    `~astropy.table.Table`
        One row for each result with a label, in the order of the results: the columns of the labels, ``z``,
        ``z_check``, the other measured columns (NaN where the results lack them), ``flags`` and ``error``.
        ``meta`` counts the rows on either side that found no partner.

    Raises
    ------
    ValueError
        If the results have no column ``z`` or no spectrum is in both tables.
    """
    columns = _Columns(read_table(results) if isinstance(results, (str, Path)) else results)
    if "z" not in columns:
        raise ValueError("the results have no column 'z'")
    identity = _identity(columns)
    partner = _partners(identity, labels)
    row = np.flatnonzero(partner >= 0)
    if row.size == 0:
        raise ValueError(f"none of the {partner.size} results is among the {len(labels)} labels")
    matched = labels[partner[row]]
    for name in ("z", "z_check"):
        matched[name] = columns.redshifts(name)[row]
    for name in _RESULT_FLOATS:
        matched[name] = columns.floats(name)[row]
    matched["snr"] = np.where(np.isfinite(matched["snr"]), matched["snr"], matched["snr_label"])
    matched["flags"] = columns.integers("flags", 0)[row]
    matched["error"] = columns.text("error")[row]
    if "z_pipe" not in labels.colnames and "z_pipe" in columns and labels.meta.get("truth") != "z":
        matched["z_pipe"] = columns.redshifts("z_pipe")[row]
    # The results know under which names their files were read.
    matched["file"] = np.where(identity["file"][row] != "", identity["file"][row], matched["file"])
    matched.meta |= {"results_without_label": int(partner.size - row.size)}
    matched.meta |= {"labels_without_result": int(len(labels) - np.unique(partner[row]).size)}
    matched.meta["provenance"] = dict(getattr(columns.table, "meta", {}))
    if isinstance(results, (str, Path)):
        matched.meta["results"] = Path(results).name
    return matched


def _partners(identity, labels):
    """For each result the row of its label, or -1."""
    order = _best_first(labels)
    found = rows_by_name(_keys(labels)[order], _keys(identity))
    partner = np.where(found >= 0, order[found], -1)
    by_name = {name: row for name, row in zip(labels["file"][order][::-1], order[::-1], strict=True) if name}
    for row in np.flatnonzero(partner < 0):
        partner[row] = by_name.get(identity["file"][row], -1)
    return partner


def _best_first(labels):
    """Rows of the labels by descending trust; says so if there is a choice."""
    keys = _keys(labels)
    known = keys[keys >= 0]
    if repeated := known.size - np.unique(known).size:
        warnings.warn(
            f"{repeated} labels repeat a spectrum; the most trusted one counts, or the first of equals",
            AstropyUserWarning,
            stacklevel=4,
        )
    return np.argsort(-np.asarray(labels["trust"]), kind="stable")


def _keys(identity):
    return spectrum_keys(*(identity[name] for name in ("plate", "mjd", "fiber")))
