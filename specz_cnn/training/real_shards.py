"""Real spectra with a catalogue of redshifts, as training shards.

A directory of spec-lite files and a table with the columns of DR16Q (``PLATE, MJD, FIBERID, Z``) are enough; column names
may be in any case.  Rows with ``Z < -0.5`` (missing) or without a file are left out and counted.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from astropy.table import Table

from specz_cnn.io import SpecLiteError, read_arrays
from specz_cnn.io.names import SPEC_PATTERNS, spec_file_name
from specz_cnn.io.tables import open_table
from specz_cnn.training.objects import object_names
from specz_cnn.training.shards import ShardWriter

__all__ = ["build_shards", "catalogue_rows", "files_below"]

log = logging.getLogger(__name__)

_COLUMNS = {"plate", "mjd", "fiber", "fiberid", "z", "class", "cls", "weight", "ra", "dec", "group"}
_BLOCK = 512  # files that are located, or fetched, while those before them are read


def catalogue_rows(catalogue):
    """What training needs of a catalogue.

    Parameters
    ----------
    catalogue : path-like or `~astropy.table.Table`
        Columns ``plate, mjd, fiberid`` (or ``fiber``), ``z``, and optionally ``class`` (or ``cls``; else every row is a
        quasar), ``weight``, and ``group`` or ``ra, dec``, which tell objects apart.

    Returns
    -------
    `~numpy.ndarray`, structured
        ``plate, mjd, fiber, z`` (NaN where missing), ``is_quasar, weight`` and ``object``, a name.

    Raises
    ------
    ValueError
        If the catalogue lacks a column.
    """
    columns, names = _columns(catalogue)
    fiber = "fiberid" if "fiberid" in columns else "fiber"
    for name in ("plate", "mjd", fiber, "z"):
        if name not in columns:
            raise ValueError(f"the catalogue has no column {name!r}; it has {', '.join(names)}")
    objects = object_names(columns)
    n = len(columns["z"])
    fields = [
        ("plate", "i4"),
        ("mjd", "i4"),
        ("fiber", "i4"),
        ("z", "f8"),
        ("is_quasar", "?"),
        ("weight", "f8"),
    ]
    rows = np.empty(n, [*fields, ("object", objects.dtype)])
    for name, source in (("plate", "plate"), ("mjd", "mjd"), ("fiber", fiber)):
        rows[name] = columns[source]
    z = np.ma.filled(np.ma.asarray(columns["z"], dtype=np.float64), np.nan)
    rows["z"] = np.where(z > -0.5, z, np.nan)
    kinds = columns.get("class", columns.get("cls"))
    if kinds is None:
        rows["is_quasar"] = True
    else:
        words = np.char.upper(np.char.strip(np.asarray(kinds).astype(str)))
        rows["is_quasar"] = np.char.startswith(words, "QSO") | np.char.startswith(words, "BLAZAR")
    rows["weight"] = columns.get("weight", np.ones(n))
    rows["object"] = objects
    return rows


def _columns(catalogue):
    """The columns that matter, by their names in lower case; and the names of all."""
    # A quasar catalogue has hundreds of columns; the others are not read.
    table = catalogue if isinstance(catalogue, Table) else open_table(catalogue)
    columns = {name.lower(): table[name] for name in table.colnames if name.lower() in _COLUMNS}
    return columns, [name.lower() for name in table.colnames]


def files_below(directory):
    """A function that finds the files of catalogue rows below a directory, at any depth.

    Parameters
    ----------
    directory : path-like
        Searched for ``spec-PLATE-MJD-FIBER.fits``: flat, or laid out as the SAS is.

    Returns
    -------
    callable
        From rows to a list of paths, None where there is no file.
    """
    # Compressed or not; of two, the one that is not.
    files = {
        path.name.removesuffix(".gz"): path
        for pattern in reversed(SPEC_PATTERNS)
        for path in sorted(Path(directory).rglob(pattern))
    }

    def locate(rows):
        return [
            files.get(spec_file_name(*(int(row[name]) for name in ("plate", "mjd", "fiber")))) for row in rows
        ]

    return locate


def build_shards(spectra, catalogue, directory, grid, *, shard_size=8192, progress=None, finished=None):
    """Read the spectra of a catalogue onto a model grid.

    Parameters
    ----------
    spectra : path-like or callable
        Directory searched for ``spec-PLATE-MJD-FIBER.fits``, at any depth (the SAS layout, for example); or a function
        that gives the paths of rows of the catalogue, and may fetch the files.  It is called in a thread of its own.
    catalogue : path-like, `~astropy.table.Table` or `~numpy.ndarray`
        As for `catalogue_rows`, or its result.
    directory : path-like
        Where the shards go.  A run that was interrupted continues after the last finished shard.
    grid : ModelGrid
    shard_size : int
        Spectra per shard.
    progress : callable, optional
        Called with the number of catalogue rows done.
    finished : callable, optional
        Called with the paths of files that have found their place in a finished shard.

    Returns
    -------
    dict
        How many rows were ``used``, had ``no file``, ``no redshift`` or an ``unreadable`` file, in this run.

    Raises
    ------
    ValueError
        If the catalogue lacks a column, or `directory` holds shards of another one.
    """
    rows = catalogue if isinstance(catalogue, np.ndarray) else catalogue_rows(catalogue)
    locate = spectra if callable(spectra) else files_below(spectra)
    digest = hashlib.sha256(rows[["plate", "mjd", "fiber", "z"]].tobytes()).hexdigest()[:16]
    writer = ShardWriter(directory, grid, shard_size=shard_size, inputs=digest)
    counts, pending = Counter(), []
    done = writer.n_finished
    with ThreadPoolExecutor(1, thread_name_prefix="files") as pool:
        starts = range(done, len(rows), _BLOCK)
        following = pool.submit(locate, rows[done : done + _BLOCK]) if len(starts) else None
        for start in starts:
            paths = following.result()
            if start + _BLOCK < len(rows):
                following = pool.submit(locate, rows[start + _BLOCK : start + 2 * _BLOCK])
            for row, path in zip(rows[start : start + _BLOCK], paths, strict=True):
                before = writer.n_finished
                _add(writer, row, path, grid, counts)
                pending += [path] if path is not None else []
                if writer.n_finished != before and finished:
                    finished(pending)
                    pending = []
                done += 1
                if progress:
                    progress(done)
    writer.flush()
    if finished:
        finished(pending)
    return dict(counts)


def _add(writer, row, path, grid, counts):
    """Add the spectrum of a row, or skip it; either way it is counted."""
    if not row["z"] > -0.5:
        counts["no redshift"] += 1
    elif path is None:
        counts["no file"] += 1
    else:
        try:
            spectrum = read_arrays(path, pipeline=False)
        except (SpecLiteError, OSError) as error:
            log.warning("%s", error)
            counts["unreadable"] += 1
        else:
            flux, ivar = grid.rebin(spectrum.loglam, spectrum.flux, spectrum.ivar)
            good = spectrum.ivar > 0
            snr = float(np.median(spectrum.flux[good] * np.sqrt(spectrum.ivar[good]))) if good.any() else 0.0
            names = (int(row[name]) for name in ("plate", "mjd", "fiber"))
            writer.add(
                flux, ivar, (*names, float(row["z"]), bool(row["is_quasar"]), snr, float(row["weight"]))
            )
            counts["used"] += 1
            return
    writer.add(None, None, None)
