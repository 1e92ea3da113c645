"""Several systems on the same spectra: the talk's figure, a table with intervals, and whether a difference is chance.

A *system* is one of our models, run here, or a table of redshifts that another program has made, or a column of the
catalogue that the labels come from.  All are joined with the labels by plate, MJD and fibre, or by file name.

>>> from specz_cnn.evaluate import compare, read_labels
>>> labels = read_labels("DR16Q_v4.fits")  # doctest: +SKIP
>>> comparison = compare(labels, {"rnet-e": "z.ecsv", "redrock": "redrock.fits"})  # doctest: +SKIP
>>> print(comparison.report())  # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from scipy.stats import binomtest

from specz_cnn.evaluate.comparison_figures import (
    plot_compared,
    plot_compared_velocities,
    plot_wiggles,
    save_figure,
)
from specz_cnn.evaluate.metrics import (
    REDSHIFT_BINS,
    SNR_BINS,
    classification_metrics,
    group_weights,
    redshift_metrics,
)
from specz_cnn.evaluate.references import match_results
from specz_cnn.io.tables import read_table, write_table
from specz_cnn.io.whole import write_whole
from specz_cnn.velocity import velocity_difference

__all__ = ["PUBLISHED", "Comparison", "compare", "run_systems"]

#: What the authors state, on samples of their own.
PUBLISHED = {
    "quasarnet": "purity 99.51 %, completeness 99.52 %, line confusion < 0.2 %, dispersion 618 to 664 km/s "
    "(Busca & Balland 2018); 97.8 % within 6000 and 97.9 % within 12000 km/s (Rastegarnia et al. 2022)",
    "fnet": "97.0 % within 6000 and 98.0 % within 12000 km/s (Rastegarnia et al. 2022)",
    "pca": "5 of 6310 beyond 6000 km/s, on redshifts that lean on it (Z_PCA, Lyke et al. 2020)",
}

_LIMITS = (600.0, 3000.0, 6000.0)  # km/s, within which systems are compared in pairs
_FIT = "+fit"  # ending of the name of a model with the fit of eigenspectra


@dataclass(frozen=True)
class Comparison:
    """Several systems on the same quasars; made by `compare`.

    Attributes
    ----------
    table : `~astropy.table.Table`
        `redshift_metrics` of each ``system`` in each ``sample``: ``all``, bins of ``redshift`` and of ``S/N`` (from ``low``
        to ``high``).  For ``all`` also ``rate``, spectra per second, reading included, and of systems that tell quasars
        from others ``completeness`` and ``purity``; NaN elsewhere.
    pairs : `~astropy.table.Table`
        For each two systems and each ``limit`` in km/s: on ``n`` objects that both were asked for, ``better`` are those that
        only the first has within the limit, ``worse`` those that only the second has; ``difference`` of the fractions with
        its standard error; ``chance``, the probability that two equally good systems differ as much (sign test, which is
        McNemar's where each object has one spectrum).  And which of the two is nearer to the reference: ``nearer``,
        ``farther``, ``chance_nearer``.
    redshifts : `~astropy.table.Table`
        One row for each quasar: the identity, ``z_true``, ``snr``, ``weight``, and a column for each system.
    meta : dict
        What was compared.
    """

    table: Table
    pairs: Table
    redshifts: Table
    meta: dict = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """Names, in the order given."""
        return self.meta["systems"]

    def report(self) -> str:
        """The comparison as text to read.

        Returns
        -------
        str
        """
        whole = self.table[self.table["sample"] == "all"]
        lines = [
            (
                f"{len(self.redshifts)} spectra of {self.redshifts['weight'].sum():.0f} quasars, reference {self.meta['truth']}, "
                f"half: {self.meta['half']}"
            ),
            "",
            (
                f"{'system':<16} {'n':>6} {'< 600':>22} {'< 3000':>22} {'< 6000':>8} {'< 12000':>8} {'median':>7} {'NMAD':>6} "
                f"{'compl.':>7} {'purity':>7} {'per s':>7}"
            ),
        ]
        for row in whole:
            wide = [
                f"{100 * row[name]:6.2f} ({100 * row[name + '_lo']:.2f}-{100 * row[name + '_hi']:.2f})"
                for name in ("within_600", "within_3000")
            ]
            rest = [f"{100 * row[name]:8.2f}" for name in ("within_6000", "within_12000")]
            classes = [_blank(100 * row[name], "7.2f") for name in ("completeness", "purity")]
            lines.append(
                f"{row['system']:<16} {row['n_spectra']:>6} {wide[0]:>22} {wide[1]:>22} {' '.join(rest)} "
                f"{row['bias']:7.0f} {row['nmad']:6.0f} {' '.join(classes)} {_blank(row['rate'], '7.1f')}"
            )
        lines += [
            "",
            "per cent within so many km/s, with 68 % intervals; median and NMAD in km/s within 3000",
            "",
        ]
        if len(self.pairs):
            lines.append("is the difference chance? (within 3000 km/s, and which is nearer to the reference)")
        for row in self.pairs[self.pairs["limit"] == 3000]:
            lines.append(
                f"  {row['first']:<16} {row['second']:<16} {100 * row['difference']:+6.2f} +- {100 * row['error']:.2f} %, "
                f"{row['better']:.0f} against {row['worse']:.0f}, chance {row['chance']:.2g}; nearer {row['nearer']:.0f} "
                f"against {row['farther']:.0f}, chance {row['chance_nearer']:.2g}"
            )
        published = [(name, PUBLISHED[name]) for name in self.systems if name in PUBLISHED]
        if published:
            lines += ["", "published, on other samples:", *(f"  {name}: {text}" for name, text in published)]
        return "\n".join(lines)

    def write(self, directory: str | Path, *, suffix: str = "png") -> list[Path]:
        """Write the text, the tables (ECSV), the figures, and a page with all of them.

        Parameters
        ----------
        directory : path-like
            Made if needed; files of an earlier comparison are replaced.
        suffix : {"png", "pdf", "svg"}
            Kind of the figures; the page shows PNG and SVG.

        Returns
        -------
        list of `~pathlib.Path`
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "summary.txt"]
        _write(paths[0], self.report() + "\n")
        for name in ("table", "pairs", "redshifts"):
            paths.append(directory / f"{name}.ecsv")
            write_table(getattr(self, name), paths[-1])
        figures = []
        for name, draw in (
            ("compared", plot_compared),
            ("velocities", plot_compared_velocities),
            ("wiggles", plot_wiggles),
        ):
            figures.append(directory / f"{name}.{suffix}")
            save_figure(draw(self), figures[-1])
        paths += [*figures, directory / "index.html"]
        _write(paths[-1], _page(self, figures))
        return paths


def _write(path, text):
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _blank(value, form):
    """A number, or as many blanks where there is none."""
    text = format(value, form)
    return text if np.isfinite(value) else " " * len(format(0.0, form))


def _page(comparison, figures):
    from html import escape

    pictures = "\n".join(
        f'<p><img src="{path.name}" alt="{path.stem}" style="max-width:100%"></p>'
        for path in figures
        if path.suffix in (".png", ".svg")
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Systems compared</title></head>\n'
        f'<body style="font-family:sans-serif"><h1>{escape(", ".join(comparison.systems))}</h1>\n'
        f"<pre>{escape(comparison.report())}</pre>\n{pictures}\n</body></html>\n"
    )


def run_systems(
    spectra: Sequence[Any], models: Sequence[str], *, device: Any = None, progress: bool | None = None
) -> dict[str, Table]:
    """Measure redshifts with several of our models.

    Parameters
    ----------
    spectra : sequence
        Paths, or what else `specz_cnn.fit_redshifts_cnn` takes.
    models : sequence of str
        Names of packaged models or weights files.  Each is run alone, without a cross-check and as it is; a name that ends
        in ``+fit`` stands for the model and the fit of eigenspectra about its peaks.
    device, progress
        As for `specz_cnn.fit_redshifts_cnn`.

    Returns
    -------
    dict of str to `~astropy.table.Table`
        Results by name (of a file, its stem); ``meta["rate"]`` holds spectra per second.
    """
    from specz_cnn.redshift.fit import fit_redshifts_cnn

    spectra, results = list(spectra), {}
    for model in models:
        name = str(model).removesuffix(_FIT)
        measure = str(model).endswith(_FIT)
        options = {"model": name, "cross_check": None, "measure": measure, "device": device}
        fit_redshifts_cnn(spectra[:1], **options)  # loads the network, which is not measured
        started = time.perf_counter()
        table = fit_redshifts_cnn(spectra, progress=progress, **options)
        table.meta["rate"] = len(spectra) / (time.perf_counter() - started)
        results[(Path(name).stem if Path(name).is_file() else name) + _FIT * measure] = table
    return results


def compare(
    labels: Table,
    systems: Mapping[str, Any],
    *,
    columns: Sequence[str] = (),
    half: str | None = None,
    min_trust: int = 2,
) -> Comparison:
    """Compare systems on the quasars that they were asked for.

    Parameters
    ----------
    labels : `~astropy.table.Table`
        From `read_labels`.
    systems : dict of str to table or path
        Results of each system, with ``z`` and what identifies the spectra.  A row without redshift counts as wrong; a
        spectrum without a row does not count for the system.
    columns : sequence of str, optional
        Redshift columns of the labels that are systems as well, ``"z_qn"`` for example; where they are empty they do not
        count.
    half : {"calibration", "validation"}, optional
        Half of the objects, see `split_half`; all of them by default.
    min_trust : int
        Least trust in a reference redshift.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there is nothing to compare.
    """
    labels = labels.copy()
    labels["_row"] = np.arange(len(labels))
    z = {name: np.full(len(labels), np.nan) for name in systems}
    p_qso, asked, rates = {}, {}, {}
    snr = np.array(labels["snr_label"], dtype=float)
    for name, results in systems.items():
        table = read_table(results) if isinstance(results, (str, Path)) else results
        matched = match_results(table, labels)
        places = np.asarray(matched["_row"])
        z[name][places] = matched["z"]
        asked[name] = np.isin(np.arange(len(labels)), places)
        p_qso[name] = np.full(len(labels), np.nan)
        p_qso[name][places] = matched["p_qso"]
        snr[places] = np.where(np.isfinite(snr[places]), snr[places], matched["snr"])
        rates[name] = float(table.meta.get("rate", np.nan))
    for name in columns:
        if name not in labels.colnames:
            raise ValueError(f"the labels have no redshift column {name!r} that differs from the reference")
        z[name] = np.asarray(labels[name], dtype=float)
        asked[name], p_qso[name], rates[name] = np.isfinite(z[name]), np.full(len(labels), np.nan), np.nan
    if not z:
        raise ValueError("there is no system to compare")
    wanted = np.any(list(asked.values()), axis=0) & (half is None or np.asarray(labels["half"] == half))
    quasar = np.asarray(labels["cls"] == "QSO") & np.isfinite(labels["z_true"])
    quasar &= np.asarray(labels["trust"] >= min_trust) & wanted
    if not quasar.any():
        raise ValueError("the selection leaves no quasar with a reference redshift")
    classes = wanted & np.isin(labels["cls"], ["QSO", "GALAXY", "STAR"]) & np.asarray(labels["trust"] >= 1)
    redshifts = labels["file", "plate", "mjd", "fiber", "group", "z_true"][quasar]
    redshifts["snr"], redshifts["weight"] = snr[quasar], group_weights(redshifts["group"])
    rows = []
    for name in z:
        redshifts[name] = z[name][quasar]
        given = asked[name][quasar]
        for sample, low, high, chosen in _samples(redshifts):
            part = redshifts[chosen & given]
            if len(part) == 0:
                continue
            found = redshift_metrics(part[name], part["z_true"], weights=np.asarray(part["weight"]))
            found |= dict.fromkeys(("completeness", "purity", "rate"), np.nan)
            if sample == "all":
                found |= {"rate": rates[name], **_classes(labels, p_qso[name], classes & asked[name])}
            rows.append({"system": name, "sample": sample, "low": low, "high": high, **found})
    meta = {"systems": list(z), "half": half or "all", "truth": labels.meta.get("truth", "z_true")}
    meta |= {"min_trust": min_trust, "labels": labels.meta.get("labels", "")}
    redshifts.meta.clear()
    names = [
        "first",
        "second",
        "limit",
        "n",
        "better",
        "worse",
        "difference",
        "error",
        "chance",
        "nearer",
        "farther",
        "chance_nearer",
    ]
    pairs = [
        _pair(redshifts, first, second, asked[first][quasar] & asked[second][quasar], limit)
        for first, second in combinations(z, 2)
        for limit in _LIMITS
    ]
    return Comparison(
        Table(rows=rows), Table(rows=pairs, names=names) if pairs else Table(names=names), redshifts, meta
    )


def _samples(rows):
    """Samples: name, bounds, which rows."""
    yield "all", np.nan, np.nan, np.ones(len(rows), bool)
    for name, values, edges in (("redshift", rows["z_true"], REDSHIFT_BINS), ("S/N", rows["snr"], SNR_BINS)):
        for low, high in pairwise(edges):
            yield name, low, high, (np.asarray(values) >= low) & (np.asarray(values) < high)


def _classes(labels, p_qso, chosen):
    """Completeness and purity of the spectra called quasars; nothing of a system that does not tell, or of quasars alone."""
    is_qso = np.asarray(labels["cls"] == "QSO")[chosen]
    if not np.isfinite(p_qso[chosen]).any() or is_qso.all():
        return {}
    found = classification_metrics(p_qso[chosen], is_qso, weights=group_weights(labels["group"][chosen]))
    return {name: found[name] for name in ("completeness", "purity")}


def _pair(rows, first, second, both, limit):
    """One row of `Comparison.pairs`."""
    group, index = np.unique(np.asarray(rows["group"])[both], return_inverse=True)
    size = [np.abs(velocity_difference(rows[name], rows["z_true"]))[both] for name in (first, second)]
    size = [np.where(np.isfinite(values), values, np.inf) for values in size]
    # Mean over the spectra of an object: which of the systems is right more often there?
    share = np.bincount(index, (size[0] < limit).astype(float) - (size[1] < limit), minlength=group.size)
    share = share / np.maximum(np.bincount(index, minlength=group.size), 1)
    # Not the sign of a difference, which two that have no redshift lack.
    closer = (size[0] < size[1]).astype(float) - (size[0] > size[1])
    nearer = np.sign(np.bincount(index, closer, minlength=group.size))
    row = {"first": first, "second": second, "limit": limit, "n": int(group.size)}
    row |= {"better": int((share > 0).sum()), "worse": int((share < 0).sum())}
    row["difference"] = float(share.mean()) if group.size else np.nan
    row["error"] = float(share.std() / group.size**0.5) if group.size else np.nan
    row["chance"] = _sign_test(row["better"], row["worse"])
    row |= {"nearer": int((nearer > 0).sum()), "farther": int((nearer < 0).sum())}
    row["chance_nearer"] = _sign_test(row["nearer"], row["farther"])
    return row


def _sign_test(k, other):
    return float(binomtest(k, k + other).pvalue) if k + other else 1.0
