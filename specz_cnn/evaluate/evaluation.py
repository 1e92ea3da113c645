"""The evaluation of a table of results: all figures of merit as tables, as text and as files."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from specz_cnn.evaluate.metrics import (
    NZ_WIDTH,
    REDSHIFT_BINS,
    SNR_BINS,
    classification_metrics,
    group_weights,
    redshift_metrics,
)
from specz_cnn.evaluate.probability import (
    COVERAGE_LEVELS,
    coverage,
    credible_level_from_interval,
    credible_level_from_pdf,
    pit_from_interval,
    pit_from_pdf,
    pull_metrics,
    reliability,
    uniformity,
)
from specz_cnn.evaluate.references import ESTIMATORS
from specz_cnn.io.tables import write_table
from specz_cnn.io.whole import write_whole
from specz_cnn.velocity import OUTLIER_VELOCITY, velocity_difference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from specz_cnn.typing import PathLike

__all__ = ["Evaluation", "evaluate_results"]

# An estimate this close to the reference, in km/s, was copied from it.
_IDENTICAL = 1.0

_TABLES = ("redshifts", "calibration", "reliability", "classification", "distribution", "outliers", "quasars")


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of one table of results; made by `evaluate`.

    Attributes
    ----------
    redshifts : `~astropy.table.QTable`
        `redshift_metrics` of each ``estimator`` in each ``sample``: ``all``, ``unflagged``, ``flagged``,
        ``BAL``, bins of ``redshift`` and of ``S/N`` (from ``low`` to ``high``), and, to compare like with
        like, ours ``with z_...``, for the spectra for which a catalogue column is filled. ``identical`` is
        the fraction of estimates that are the reference itself.
    calibration : `~astropy.table.QTable`
        Errors and intervals in the same samples: ``pull_nmad``, ``pull_median``, ``pull_beyond_5``,
        ``coverage_50`` to ``coverage_95`` with intervals, the Kolmogorov-Smirnov distance of the PIT values
        and what chance allows (``pit_distance``, ``pit_limit``), the mean ``confidence`` and the fraction
        that is ``right``.
    reliability : `~astropy.table.QTable`
        Stated confidence against the fraction right, by bins of confidence, of quasars, galaxies and stars: a
        confidence is the probability that it is a quasar and its redshift right.
    classification : `~astropy.table.QTable`
        Completeness and purity of ``p_qso >= threshold``: ``all``, against each class alone, and by S/N.
    distribution : `~astropy.table.QTable`
        True and measured N(z), and their difference in units of the counting noise.
    outliers : `~astropy.table.Table`
        The quasars off by more than 3000 km/s or without redshift.
    quasars, classified : `~astropy.table.Table`
        The rows that redshifts and classes were judged on, with ``weight``, ``dv`` (km/s), ``pit`` and
        ``credible_level``.
    meta : dict
        What was compared: names of the files, selection, counts, and the ``provenance`` of the results.
    """

    redshifts: QTable
    calibration: QTable
    reliability: QTable
    classification: QTable
    distribution: QTable
    outliers: Table
    quasars: Table
    classified: Table
    meta: dict = field(default_factory=dict)

    def report(self) -> str:
        """The figures of merit as text to read.

        Returns
        -------
        str
        """
        from specz_cnn.evaluate.text import format_report

        return format_report(self)

    def summary(self) -> str:
        """What the evaluation comes to, in five lines.

        Returns
        -------
        str
        """
        from specz_cnn.evaluate.text import format_summary

        return format_summary(self)

    def write(self, directory: PathLike, *, figures: bool = True, suffix: str = "png") -> list[Path]:
        """Write the text, all tables (ECSV) and the figures into a directory.

        Parameters
        ----------
        directory : str or `~pathlib.Path`
            Made if needed; files of an earlier evaluation are replaced.
        figures : bool
            Whether to draw; this needs matplotlib.
        suffix : {"png", "pdf", "svg"}
            Kind of the figures.

        Returns
        -------
        list of `~pathlib.Path`
            What was written.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "summary.txt"]
        with write_whole(paths[0]) as part:
            part.write_text(self.report() + "\n", encoding="utf-8")
        for name in _TABLES:
            table = getattr(self, name)
            if len(table):
                paths.append(directory / f"{name}.ecsv")
                write_table(table, paths[-1])
        if figures:
            from specz_cnn.evaluate.figures import save_figures

            paths += save_figures(self, directory, suffix=suffix)
        return paths


def evaluate_results(
    matched: Table,
    *,
    half: str | None = None,
    min_trust: int = 2,
    min_class_trust: int = 1,
    each_spectrum: bool = False,
    threshold: float = 0.5,
    pdf: ArrayLike | None = None,
    z_grid: ArrayLike | None = None,
) -> Evaluation:
    """Judge measured redshifts by reference ones.

    Redshifts, errors and confidences are judged on quasars, classes on quasars, galaxies and stars.

    Parameters
    ----------
    matched : `~astropy.table.Table`
        From `match_results`.
    half : {"calibration", "validation"}, optional
        Half of the objects to judge on, see `split_half`; all of them by default.
    min_trust : int
        Least trust in a reference redshift.
    min_class_trust : int
        Least trust in the label of a spectrum used to judge classes: a star is known as such long before its
        velocity is confirmed.
    each_spectrum : bool
        Count each spectrum; by default each object counts once, however often it was observed.
    threshold : float
        Spectra with ``p_qso`` of at least this are called quasars.
    pdf, z_grid : array_like of float, shapes (n, n_bins) and (n_bins,), optional
        p(z) of each row of ``matched`` and its redshifts. Without them the levels of intervals and PIT values
        follow from ``z_lo`` and ``z_hi`` as for a Gaussian.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the selection leaves no quasar with a reference redshift.
    """
    chosen = np.ones(len(matched), bool) if half is None else np.asarray(matched["half"] == half)
    is_qso = np.asarray(matched["cls"] == "QSO")
    with_truth = chosen & is_qso & np.isfinite(matched["z_true"]) & np.asarray(matched["trust"] >= min_trust)
    if not with_truth.any():
        raise ValueError("the selection leaves no quasar with a reference redshift")
    quasars = _judged(matched, with_truth, each_spectrum, pdf, z_grid)
    with_class = chosen & np.isin(matched["cls"], ["QSO", "GALAXY", "STAR"])
    with_class &= np.asarray(matched["trust"] >= min_class_trust)
    classified = matched[with_class & np.isfinite(matched["p_qso"]).any()]
    classified["weight"] = _weights(classified, each_spectrum)
    samples = _samples(quasars)
    meta = {key: matched.meta[key] for key in ("results", "labels", "truth") if key in matched.meta}
    meta["provenance"] = dict(matched.meta.get("provenance", {}))
    meta |= {"half": half or "all", "min_trust": min_trust, "min_class_trust": min_class_trust}
    meta |= {
        "counted": "spectra" if each_spectrum else "objects",
        "intervals": "z_lo, z_hi" if pdf is None else "p(z)",
    }
    meta |= {
        key: value for key, value in matched.meta.items() if key.endswith(("without_label", "without_result"))
    }
    return Evaluation(
        redshifts=_redshift_table(quasars, samples),
        calibration=_calibration_table(quasars, samples),
        reliability=_reliability_table(quasars, classified),
        classification=_classification_table(classified, threshold),
        distribution=_distribution_table(quasars),
        outliers=_outlier_table(quasars),
        quasars=quasars,
        classified=classified,
        meta=meta,
    )


def _weights(rows, each_spectrum):
    return np.ones(len(rows)) if each_spectrum else group_weights(rows["group"])


def _judged(matched, chosen, each_spectrum, pdf, z_grid):
    """The quasars, with their weight, velocity difference, PIT value and credible level."""
    rows = matched[chosen]
    rows.meta.clear()
    rows["weight"] = _weights(rows, each_spectrum)
    rows["dv"] = velocity_difference(rows["z"], rows["z_true"])
    rows["dv"].unit = u.km / u.s
    if pdf is None:
        bounds = [np.asarray(rows[name], dtype=float) for name in ("z", "z_lo", "z_hi", "z_true")]
        rows["pit"] = pit_from_interval(*bounds)
        rows["credible_level"] = credible_level_from_interval(*bounds)
    else:
        pdf = np.asarray(pdf)[chosen]
        rows["pit"] = pit_from_pdf(pdf, z_grid, rows["z_true"])
        rows["credible_level"] = credible_level_from_pdf(pdf, z_grid, rows["z_true"])
    return rows


def _samples(rows):
    """Samples to state figures for: name, bounds, which rows."""
    flagged = np.asarray(rows["flags"]) != 0
    bal = np.asarray(rows["bal"], dtype=bool)
    samples = [("all", np.nan, np.nan, np.ones(len(rows), bool)), ("unflagged", np.nan, np.nan, ~flagged)]
    samples += [("flagged", np.nan, np.nan, flagged), ("BAL", np.nan, np.nan, bal)]
    for name, values, edges in (("redshift", rows["z_true"], REDSHIFT_BINS), ("S/N", rows["snr"], SNR_BINS)):
        values = np.asarray(values, dtype=float)
        for low, high in pairwise(edges):
            samples.append((name, low, high, (values >= low) & (values < high)))
    return [sample for sample in samples if sample[3].any()]


def _table(rows):
    """A table of dictionaries with the units of what is measured in km/s."""
    table = QTable(rows=rows)
    for name in table.colnames:
        if name.startswith(("nmad", "bias")):
            table[name].unit = u.km / u.s
    return QTable(table)


def _redshift_table(rows, samples):
    estimators = [name for name in ESTIMATORS if name in rows.colnames and np.isfinite(rows[name]).any()]
    # A spectrum that the results do not contain has a row all the same.
    estimators = estimators if "z" in estimators else ["z", *estimators]
    table = []
    for estimator in estimators:
        wanted = list(samples)
        if estimator == "z":
            for other in estimators:
                known = np.isfinite(np.asarray(rows[other], dtype=float))
                if other not in ("z", "z_check") and not known.all():
                    wanted.append((f"with {other}", np.nan, np.nan, known))
        table += [_redshift_row(rows, estimator, sample) for sample in wanted]
    return _table(table)


def _redshift_row(rows, estimator, sample):
    """Figures of merit of one estimator in one sample."""
    name, low, high, chosen = sample
    part = rows[chosen]
    z, z_true = np.asarray(part[estimator], dtype=float), np.asarray(part["z_true"], dtype=float)
    # We were asked for all spectra; a catalogue column is filled for some.
    missing = "wrong" if estimator in ("z", "z_check") else "ignore"
    known = np.isfinite(z)
    dv = np.abs(velocity_difference(z, z_true))[known]
    row = {"estimator": estimator, "sample": name, "low": low, "high": high}
    row |= redshift_metrics(z, z_true, weights=part["weight"], missing=missing)
    row["identical"] = (
        float(np.average(dv < _IDENTICAL, weights=part["weight"][known])) if known.any() else np.nan
    )
    return row


def _calibration_table(rows, samples):
    if not np.isfinite(rows["z_err"]).any():
        return QTable()
    table = []
    for name, low, high, chosen in samples:
        part = rows[chosen]
        weight = np.asarray(part["weight"])
        row = {
            "sample": name,
            "low": low,
            "high": high,
            "n_spectra": len(part),
            "n_objects": float(weight.sum()),
        }
        row |= pull_metrics(part["z"], part["z_err"], part["z_true"], weights=weight)
        for level, *values in zip(
            COVERAGE_LEVELS, *coverage(part["credible_level"], weights=weight), strict=True
        ):
            key = f"coverage_{100 * level:.0f}"
            row |= {
                key + ending: float(value) for ending, value in zip(("", "_lo", "_hi"), values, strict=True)
            }
        row["pit_distance"], row["pit_limit"] = uniformity(part["pit"], weights=weight)
        stated = reliability(part["confidence"], _right(part), weights=weight)
        row["confidence"] = _mean(stated["confidence"], stated["n"])
        row["right"] = _mean(stated["right"], stated["n"])
        row["expected_error"], row["brier"] = stated["expected_error"], stated["brier"]
        table.append(row)
    return _table(table)


def _mean(values, weights):
    total = weights.sum()
    return float(np.nansum(values * weights) / total) if total > 0 else np.nan


def _right(rows):
    """Whether the redshift is not catastrophic."""
    return np.nan_to_num(np.abs(np.asarray(rows["dv"])), nan=np.inf) <= OUTLIER_VELOCITY


def _reliability_table(quasars, classified):
    """Stated confidence against the fraction right; a redshift of what is no quasar is wrong."""
    others = classified[np.asarray(classified["cls"] != "QSO")]
    confidence, weight = (
        np.concatenate([np.asarray(part[name], dtype=float) for part in (quasars, others)])
        for name in ("confidence", "weight")
    )
    right = np.concatenate([_right(quasars), np.zeros(len(others), dtype=bool)])
    stated = reliability(confidence, right, weights=weight)
    names = [name for name, value in stated.items() if np.ndim(value)]
    table = QTable({name: stated[name] for name in names})
    table.meta |= {name: stated[name] for name in stated if name not in names}
    return table[table["n"] > 0]


def _classification_table(rows, threshold):
    if len(rows) == 0:
        return QTable()
    # A sample without quasars has no completeness.
    if not (rows["cls"] == "QSO").any():
        return QTable()
    cls, snr = np.asarray(rows["cls"]), np.asarray(rows["snr"], dtype=float)
    samples = [("all", np.nan, np.nan, np.ones(len(rows), bool))]
    samples += [
        (f"QSO, {other}", np.nan, np.nan, np.isin(cls, ["QSO", other])) for other in ("GALAXY", "STAR")
    ]
    samples += [("S/N", low, high, (snr >= low) & (snr < high)) for low, high in pairwise(SNR_BINS)]
    table = []
    for name, low, high, chosen in samples:
        # Against a class that is not there, everything is pure.
        if (chosen & (cls == "QSO")).any() and (name == "all" or (chosen & (cls != "QSO")).any()):
            part = rows[chosen]
            row = {"sample": name, "low": low, "high": high}
            weights = np.asarray(part["weight"])
            row |= classification_metrics(
                part["p_qso"], part["cls"] == "QSO", threshold=threshold, weights=weights
            )
            table.append(row)
    return _table(table)


def _distribution_table(rows):
    """True and measured N(z)."""
    edges = NZ_WIDTH * np.arange(0, round(REDSHIFT_BINS[-1] / NZ_WIDTH) + 1)
    weights = np.asarray(rows["weight"])
    n_true, n = (np.histogram(rows[name], edges, weights=weights)[0] for name in ("z_true", "z"))
    table = QTable({"z_low": edges[:-1], "z_high": edges[1:], "n_true": n_true, "n": n})
    # The same objects stand on both sides: only those that changed bins differ, and few do if the redshifts
    # are right.
    table["difference"] = (n - n_true) / np.sqrt(np.maximum(n_true, 1.0))
    table["difference"].info.description = "in units of the counting noise of the true number"
    return table[(n_true > 0) | (n > 0)]


def _outlier_table(rows):
    from specz_cnn.results.flags import decode_flags

    rows = rows[~_right(rows)]
    names = (
        "file",
        "plate",
        "mjd",
        "fiber",
        "z_true",
        "trust",
        "z",
        "dv",
        "confidence",
        "p_qso",
        "snr",
        "flags",
    )
    table = rows[list(names)]
    table["flag_names"] = np.array([" ".join(decode_flags(int(flags))) for flags in rows["flags"]], dtype=str)
    table["z_second"] = rows["z_second"]
    second = np.abs(velocity_difference(rows["z_second"], rows["z_true"]))
    table["second_right"] = np.nan_to_num(second, nan=np.inf) <= OUTLIER_VELOCITY
    table["z_check"] = rows["z_check"]
    table["error"] = rows["error"]
    order = np.argsort(-np.nan_to_num(np.asarray(table["confidence"], dtype=float), nan=-1.0), kind="stable")
    return table[order]
