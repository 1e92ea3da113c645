"""The inspection page: a results table and its spectra in one HTML file that needs nothing else."""

from __future__ import annotations

import hashlib
import html
import json
import math
from functools import cache
from importlib import resources
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from specz_cnn.io.grid import LATTICE_STEP
from specz_cnn.io.whole import write_whole
from specz_cnn.report.encoding import encode_pdf, encode_rows, encode_spectrum
from specz_cnn.report.rest_lines import ATMOSPHERE, REST_LINES
from specz_cnn.report.verdicts import CLASSES, ISSUES, VERDICT_COLUMNS
from specz_cnn.results.flags import FLAGS

if TYPE_CHECKING:
    from typing import Any

    from specz_cnn.typing import PathLike

__all__ = ["write_inspection_page"]

# Columns that the page shows, and the digits that it needs of them.
_INTEGERS = ("plate", "mjd", "fiber", "flags", "zwarning_pipe")
_TEXTS = ("file", "error", "class_pipe")
_REALS = {"ra": 6, "dec": 6, "z": 6, "z_err": 6, "z_lo": 6, "z_hi": 6, "confidence": 4, "p_qso": 4}
_REALS |= {"z_second": 6, "p_second": 4, "z_check": 6, "snr": 2, "coverage": 3, "z_pipe": 6, "z_pipe_err": 6}

# In the order in which they build on each other.
_SCRIPTS = ("codec.js", "store.js", "fit.js", "plot.js", "list.js", "app.js")


def write_inspection_page(
    path: PathLike,
    table: Table,
    spectra: Any,
    *,
    pdfs: Any = None,
    pdf_step: float | None = None,
    title: str = "Visual inspection",
) -> int:
    """Write a web page for the visual inspection of results.

    The page holds everything in one file, opens from disk and never uses the network. Verdicts stay in the browser until
    they are exported as CSV, which `~specz_cnn.report.read_verdicts` and ``specz-cnn evaluate`` read.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File to write; replaced as a whole or not at all.
    table : `~astropy.table.Table`
        Results of `~specz_cnn.fit_redshifts_cnn`, or any table with a column ``z`` and ``file`` or ``plate``, ``mjd`` and
        ``fiber``. Columns that are missing stay empty.
    spectra : iterable of (`~specz_cnn.SpectrumArrays` or None)
        One for each row, in order; None where there is no spectrum. They are taken one by one, so a generator needs the
        memory of one spectrum only. What a spectrum knows of its identity and pipeline redshift fills gaps of the table.
    pdfs : iterable of (array_like or None), optional
        Probabilities per bin of each row, shape (K,).
    pdf_step : float, optional
        Width of the bins in ln(1 + z), bin ``k`` from ``k * step`` to ``(k + 1) * step``; needed with ``pdfs``.
    title : str, optional
        Heading of the page.

    Returns
    -------
    int
        Number of rows that have a spectrum.

    Raises
    ------
    ValueError
        If the table has no row or no column ``z``, the number of spectra or pdfs is not that of the rows, or
        ``pdf_step`` is missing.
    """
    if len(table) == 0 or "z" not in table.colnames:
        raise ValueError("a table of results needs a column 'z' and at least one row")
    if pdfs is not None and pdf_step is None:
        raise ValueError("pdfs need pdf_step")
    columns = _columns(table)
    packed: list[str | None] = []
    codes: list[str | None] | None = None if pdfs is None else []
    # Side by side, so that both may come from one generator.
    pairs = zip(spectra, repeat(None, len(table)) if pdfs is None else pdfs, strict=True)
    for row, (spectrum, pdf) in zip(range(len(table)), pairs, strict=True):
        packed.append(None if spectrum is None else _pack(spectrum))
        if spectrum is not None:
            _fill_gaps(columns, row, spectrum)
        if codes is not None:
            codes.append(None if pdf is None else encode_pdf(pdf))
    columns["file"] = [Path(name).name for name in columns["file"]]
    _write_whole(Path(path), _page(columns, packed, codes, pdf_step, title))
    return sum(spectrum is not None for spectrum in packed)


def _pack(spectrum):
    """The codes of a spectrum; of SDSS the unit of the flux is known, of others only that it is per wavelength."""
    packed = encode_spectrum(spectrum.loglam, spectrum.flux, spectrum.ivar)
    if packed is not None and min(spectrum.plate, spectrum.mjd, spectrum.fiber) >= 0:
        packed["sdss"] = 1
    return packed


def _columns(table):
    """The columns that the page shows, as lists that JSON knows; None is unknown."""
    table = Table(table, copy=False)
    columns = {}
    for name in _TEXTS:
        columns[name] = [str(value) for value in _values(table, name, "")]
    for name in _INTEGERS:
        columns[name] = [int(value) for value in _values(table, name, 0 if name == "flags" else -1)]
    for name, digits in _REALS.items():
        values = (float(value) for value in _values(table, name, np.nan))
        columns[name] = [round(value, digits) if math.isfinite(value) else None for value in values]
    return columns


def _values(table, name, missing):
    if name not in table.colnames:
        return [missing] * len(table)
    column = table[name]
    filled = column.filled(missing) if hasattr(column, "filled") else column
    return [value.decode() if isinstance(value, bytes) else value for value in np.asarray(filled).tolist()]


def _fill_gaps(columns, row, spectrum):
    """What the file says about itself, where the table does not."""
    for name, value in spectrum.identity.items():
        if name not in columns:
            continue
        unknown = columns[name][row] in (None, "", -1)
        if unknown and name in _REALS:
            columns[name][row] = round(float(value), _REALS[name]) if math.isfinite(value) else None
        elif unknown:
            columns[name][row] = value if isinstance(value, str) else int(value)


def _page(columns, packed, codes, pdf_step, title):
    """The HTML: style, data and script between the lines of the template."""
    identity = json.dumps([columns[name] for name in ("file", "plate", "mjd", "fiber", "z")])
    data = {
        "id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "title": title,
        "columns": columns,
        "flags": [{"bit": flag.bit, "name": flag.name, "line": flag.line} for flag in FLAGS],
        "lines": REST_LINES,
        "atmosphere": ATMOSPHERE,
        "classes": CLASSES,
        "issues": ISSUES,
        "verdictColumns": list(VERDICT_COLUMNS),
    }
    blob = _Blob()
    data["spectra"] = [blob.add(spectrum) for spectrum in packed]
    if codes is not None:
        rows = [None if code is None else blob.add({"data": code}) for code in codes]
        data["pdf"] = {"first": pdf_step / 2, "step": pdf_step, "rows": rows}
    data["eigenspectra"] = blob.add(_eigenspectra())
    assets = resources.files("specz_cnn.report") / "assets"
    parts = {
        "TITLE": html.escape(title),
        "STYLE": (assets / "inspect.css").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        "DATA": _json(data),
        "BLOB": "".join(blob.pieces),
    }
    page = (assets / "inspect.html").read_text(encoding="utf-8")
    head, *rest = page.split("{{")
    for piece in rest:
        name, text = piece.split("}}", 1)
        head += parts[name] + text
    return head


@cache
def _eigenspectra():
    """The eigenspectra that describe a quasar, for the fit in the page: 16 bits a sample."""
    from specz_cnn.models.eigenspectra import SAMPLE
    from specz_cnn.redshift.measure import GRID, packaged_measurement

    some = packaged_measurement().describing
    first, last = GRID.loglam[[0, -1]] / LATTICE_STEP
    half = 0.5 * (GRID.factor - 1)
    return {
        **encode_rows(some.values.numpy()),
        "start": some.start,
        "sample": SAMPLE,
        "first": float(first - half),
        "last": float(last + half),
        "prior": some.prior.tolist(),
    }


class _Blob:
    """One long string of all packed data; each piece has whole base64 quanta, so that the page can decode it by itself."""

    def __init__(self):
        self.pieces = []
        self.length = 0

    def add(self, packed):
        """Store the data of a packed spectrum; returns its other entries and the place of the data."""
        if packed is None:
            return None
        entry = {key: value for key, value in packed.items() if key != "data"}
        entry |= {"at": self.length, "len": len(packed["data"])}
        self.pieces.append(packed["data"])
        self.length += len(packed["data"])
        return entry


def _json(data):
    """JSON that cannot end the script element that holds it."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _write_whole(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8")
