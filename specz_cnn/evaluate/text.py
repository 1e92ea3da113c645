"""The evaluation as text to read in a terminal."""

from __future__ import annotations

import os

import numpy as np

from specz_cnn.evaluate.references import ESTIMATORS

__all__ = ["WIDTH", "format_report", "format_summary"]

#: No line is longer than this.
WIDTH = 100

# Velocity limits shown, in km/s; the tables have more.
_LIMITS = (600, 3000, 6000)
# Levels of intervals shown.
_LEVELS = (0.68, 0.9, 0.95)
# Outliers listed by name; the table of a large survey has thousands.
_LISTED = 20
# Room for the name of an outlier and for what is wrong with it.
_NAME, _REASON = 26, 20


def format_summary(evaluation):
    """What an evaluation comes to, in five lines.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`

    Returns
    -------
    str
    """
    redshifts = evaluation.redshifts[evaluation.redshifts["estimator"] == "z"]
    whole = redshifts[redshifts["sample"] == "all"][0]
    n = f"{whole['n_spectra']} quasars"
    if evaluation.meta["counted"] == "objects" and whole["n_objects"] < whole["n_spectra"]:
        n = f"{whole['n_objects']:.0f} quasars ({whole['n_spectra']} spectra)"
    right = (
        f"{100 * whole['within_3000']:.1f} % within 3000 km/s, {100 * whole['within_600']:.1f} % within 600"
    )
    scatter = f"NMAD {_number(whole['nmad'].value, 0)}, bias {_signed(whole['bias'].value)}"
    lines = [
        f"{'Redshifts':12}{n}: {right}; {scatter}",
        f"{'Flags':12}{_unflagged(redshifts)}",
        f"{'Errors':12}{_errors(evaluation.calibration)}",
        f"{'Classes':12}{_classes(evaluation.classification)}",
        f"{'Wrong':12}{_wrong(evaluation.outliers)}",
    ]
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 2]} …" for line in lines)


def _signed(value):
    return f"{value:+.0f}" if np.isfinite(value) else "-"


def _unflagged(redshifts):
    rows = redshifts[redshifts["sample"] == "unflagged"]
    if len(rows) == 0:
        return "no redshift is without a flag"
    (row,) = rows
    return (
        f"{row['n_spectra']} without a flag, {row['n_outliers']} of them wrong; at 95 % confidence at most "
        f"{100 * row['outliers_max95']:.2g} % are"
    )


def _errors(calibration):
    if len(calibration) == 0 or not np.isfinite(calibration["pull_nmad"][0]):
        return "the results have none"
    row = calibration[0]
    pull, share = row["pull_nmad"], row["coverage_68"]
    # What chance does to the scatter of so many normal deviates.
    chance = 2 * 1.17 / np.sqrt(max(row["n_objects"], 1))
    if abs(pull - 1) <= chance:
        verdict = "as large as they should be"
    else:
        verdict = (
            f"too {'small' if pull > 1 else 'large'} by a factor of {max(pull, 1 / max(pull, 1e-3)):.1f}"
        )
    return f"{verdict} (pull {pull:.2f}); 68 % intervals hold {100 * share:.0f} %"


def _classes(table):
    if len(table) == 0:
        return "not judged: no star or galaxy, or no p_qso"
    row = table[0]
    if not row["n_other"]:
        return f"{100 * row['completeness']:.1f} % of quasars called quasars; no star or galaxy to judge by"
    return (
        f"{100 * row['completeness']:.1f} % of quasars called quasars, {100 * row['contamination']:.1f} % of "
        f"{row['n_other']:.0f} stars and galaxies"
    )


def _wrong(table):
    if len(table) == 0:
        return "No outliers."
    names = [_name(row) for row in table]
    shown = ", ".join(names[:3])
    return f"{len(names)}: {shown}" + (", ..." if len(names) > 3 else "")


def _name(row):
    name = os.path.basename(str(row["file"])).removesuffix(".fits")
    return name or f"{row['plate']}-{row['mjd']}-{row['fiber']}"


def format_report(evaluation):
    """All figures of merit as text, the summary first.

    Parameters
    ----------
    evaluation : `~specz_cnn.evaluate.Evaluation`

    Returns
    -------
    str
    """
    parts = [
        _heading(evaluation),
        format_summary(evaluation),
        _redshifts(evaluation.redshifts),
        _bins(evaluation.redshifts),
    ]
    parts += [_calibration(evaluation), _classification(evaluation.classification), _distribution(evaluation)]
    parts += [_outliers(evaluation)]
    return "\n\n".join(part for part in parts if part)


def _percent(row, name):
    """A fraction in per cent with half of its interval, for example ``91.2 ± 2.1``."""
    value, low, high = (100 * row[name + ending] for ending in ("", "_lo", "_hi"))
    if not np.isfinite(value):
        return "-"
    digits = 2 if high - low < 0.5 else 1
    return f"{value:.{digits}f} ± {0.5 * (high - low):.{digits}f}"


def _velocity(row, name):
    """A velocity with half of its interval, in km/s."""
    value, low, high = (row[name + ending].value for ending in ("", "_lo", "_hi"))
    return f"{value:.0f} ± {0.5 * (high - low):.0f}" if np.isfinite(value) else "-"


def _number(value, digits=2):
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def _count(n):
    """A number of objects, of which a bin may hold a part."""
    return f"{n:.0f}" if n >= 10 or n == round(n) else f"{n:.1f}"


def _aligned(head, lines):
    """Columns as wide as they need, the first to the left, the others to the right."""
    cells = [head, *lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    text = []
    for line in cells:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        text.append("  ".join([first, *others]).rstrip())
    return "\n".join(text)


def _bounds(row):
    low, high = row["low"], row["high"]
    if row["sample"] not in ("redshift", "S/N"):
        return row["sample"]
    name = "z" if row["sample"] == "redshift" else "S/N"
    if not np.isfinite(low):
        return f"{name} < {high:g}"
    return f"{name} > {low:g}" if not np.isfinite(high) else f"{low:g} < {name} < {high:g}"


def _heading(evaluation):
    meta = evaluation.meta
    weight = np.asarray(evaluation.quasars["weight"])
    objects = (
        f" of {weight.sum():.0f} objects, each of which counts once" if meta["counted"] == "objects" else ""
    )
    lines = [f"Evaluation of {meta.get('results', 'redshifts')} against {meta.get('labels', 'labels')}"]
    # FITS writes the keywords of its header in upper case.
    provenance = {str(key).lower(): value for key, value in meta.get("provenance", {}).items()}
    if models := [str(provenance[key]) for key in ("model", "cross_check") if provenance.get(key)]:
        lines.append(f"Redshifts of {', checked by '.join(models)}")
    half = "all labels" if meta["half"] == "all" else f"the {meta['half']} half of the labels"
    selection = f"{half}, trust {meta['min_trust']} or better, reference {meta['truth']}"
    lines += [f"{len(weight)} quasar spectra{objects}", f"Labels: {selection}"]
    lines.append(
        "Intervals are 68 %. Outliers, which bias and NMAD leave out, are off by more than 3000 km/s."
    )
    return "\n".join(lines)


def _redshift_lines(table, label):
    head = ["", "objects", *(f"< {limit:.0f}" for limit in _LIMITS), "outliers", "bias", "NMAD"]
    lines = []
    for row in table:
        fractions = [_percent(row, f"within_{limit:.0f}") for limit in _LIMITS]
        counts = [_count(row["n_objects"])]
        scatter = [_velocity(row, "bias"), _velocity(row, "nmad")]
        lines.append([label(row), *counts, *fractions, str(row["n_outliers"]), *scatter])
    return _aligned(head, lines)


def _redshifts(table):
    """Every estimator over all quasars; ours with and without flags, and on the spectra that others have."""
    whole = table[
        (table["sample"] == "all")
        | ((table["estimator"] == "z") & ~np.isin(table["sample"], ["redshift", "S/N"]))
    ]
    title = "Redshifts: per cent within so many km/s, bias and NMAD in km/s"
    notes = []
    for row in whole[whole["sample"] == "all"]:
        if row["identical"] > 0.02:
            notes.append(f"{100 * row['identical']:.0f} % of {row['estimator']} is the reference itself.")
    for row in whole[whole["sample"] == "unflagged"]:
        notes.append(
            f"Unflagged: {row['n_outliers']} of {row['n_spectra']} spectra are outliers; at 95 % confidence at "
            f"most {100 * row['outliers_max95']:.2f} % are."
        )

    def label(row):
        name = ESTIMATORS.get(row["estimator"], row["estimator"])
        return name if row["sample"] == "all" else f"  {row['sample']}"

    return "\n".join([title, _redshift_lines(whole, label), *notes])


def _bins(table):
    """Our redshifts by redshift, then by S/N."""
    parts = []
    for sample, title in (("redshift", "By redshift"), ("S/N", "By signal-to-noise ratio per pixel")):
        part = table[(table["estimator"] == "z") & (table["sample"] == sample)]
        if len(part):
            parts.append(f"{title}\n{_redshift_lines(part, _bounds)}")
    return "\n\n".join(parts)


def _calibration(evaluation):
    table = evaluation.calibration
    if len(table) == 0:
        return ""
    head = ["", "objects", "pull NMAD", "> 5 (%)"]
    head += [f"in {100 * level:.0f} %" for level in _LEVELS] + ["confidence", "right"]
    lines = []
    for row in table:
        cells = [_count(row["n_objects"]), _number(row["pull_nmad"])]
        cells += [_number(100 * row["pull_beyond_5"], 1)]
        cells += [_percent(row, f"coverage_{100 * level:.0f}") for level in _LEVELS]
        lines.append([_bounds(row), *cells, _number(row["confidence"], 4), _number(row["right"], 4)])
    whole = table[0]
    notes = [f"Intervals from {evaluation.meta['intervals']}."]
    if np.isfinite(whole["pit_distance"]):
        notes.append(
            f"PIT values are {whole['pit_distance']:.3f} from uniform (Kolmogorov-Smirnov); chance stays below "
            f"{whole['pit_limit']:.3f} in 95 %."
        )
    if np.isfinite(whole["expected_error"]):
        notes.append(
            f"Confidence: expected error {whole['expected_error']:.4f}, Brier score {whole['brier']:.4f}."
        )
    return "\n".join(["Errors, intervals (per cent in them), confidence", _aligned(head, lines), *notes])


def _classification(table):
    if len(table) == 0:
        return ""
    head = ["", "quasars", "others", "completeness (%)", "purity (%)", "others called quasars (%)"]
    lines = []
    for row in table:
        cells = [_percent(row, name) for name in ("completeness", "purity", "contamination")]
        lines.append([_bounds(row), _count(row["n_qso"]), _count(row["n_other"]), *cells])
    return "\n".join([f"Classification (p_qso of at least {table['threshold'][0]:g})", _aligned(head, lines)])


def _distribution(evaluation):
    table = evaluation.distribution
    worst = table[np.argmax(np.abs(np.asarray(table["difference"])))]
    return (
        f"N(z): in bins of {worst['z_high'] - worst['z_low']:.1f} the largest difference is "
        f"{worst['difference']:+.2f} times the counting noise,\nat {worst['z_low']:.1f} < z < "
        f"{worst['z_high']:.1f} ({worst['n']:.0f} measured, {worst['n_true']:.0f} true)."
    )


def _outliers(evaluation):
    table = evaluation.outliers
    if len(table) == 0:
        return "No outliers."
    head = ["Outliers", "z true", "z", "dv (km/s)", "confidence", "second", "S/N", "flags"]
    lines = []
    for row in table[:_LISTED]:
        second = _number(row["z_second"], 4) + ("*" if row["second_right"] else " ")
        cells = [_number(row["z_true"], 4), _number(row["z"], 4), _number(row["dv"], 0)]
        cells += [_number(row["confidence"], 3), second, _number(row["snr"], 1), _reason(row)]
        lines.append([_name(row)[:_NAME], *cells])
    text = _aligned(head, lines)
    if any(row["second_right"] for row in table[:_LISTED]):
        text += "\n* the runner-up is right"
    return text if len(table) <= _LISTED else f"{text}\nand {len(table) - _LISTED} more"


def _reason(row):
    """The first flag and how many more there are, or the error."""
    flags = row["flag_names"].split()
    if not flags:
        return str(row["error"])[:_REASON] or "-"
    return flags[0] + (f" +{len(flags) - 1}" if len(flags) > 1 else "")
