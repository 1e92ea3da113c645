"""Real spectra with a catalogue of redshifts, as training shards.

A directory of spec-lite files and a table with the columns of DR16Q (``PLATE, MJD, FIBERID, Z``) are enough; column names
may be in any case.  Rows with ``Z < -0.5`` (missing) or without a file are left out and counted.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.table import Table

from specz_cnn.io import SpecLiteError, read_arrays
from specz_cnn.io.names import spec_file_name
from specz_cnn.training.shards import ShardWriter

__all__ = ["build_shards"]

log = logging.getLogger(__name__)


def build_shards(spectra, catalogue, directory, grid, *, shard_size=8192, progress=None):
    """Read the spectra of a catalogue onto a model grid.

    Parameters
    ----------
    spectra : path-like
        Directory searched for ``spec-PLATE-MJD-FIBER.fits``, at any depth (the SAS layout, for example).
    catalogue : path-like or `~astropy.table.Table`
        Columns ``plate, mjd, fiberid`` (or ``fiber``), ``z``, and optionally ``class`` (or ``cls``; else every row is a quasar) and
        ``weight``.
    directory : path-like
        Where the shards go.  A run that was interrupted continues after the last finished shard.
    grid : ModelGrid
    shard_size : int
        Spectra per shard.
    progress : callable, optional
        Called with the number of catalogue rows done.

    Returns
    -------
    dict
        How many rows were ``used``, had ``no file``, ``no redshift`` or an ``unreadable`` file.

    Raises
    ------
    ValueError
        If the catalogue lacks a column.
    """
    table = catalogue if isinstance(catalogue, Table) else Table.read(catalogue)
    columns = {name.lower(): table[name] for name in table.colnames}
    fiber = "fiberid" if "fiberid" in columns else "fiber"
    for name in ("plate", "mjd", fiber, "z"):
        if name not in columns:
            raise ValueError(f"the catalogue has no column {name!r}; it has {', '.join(columns)}")
    kinds = columns.get("class", columns.get("cls"))
    files = {path.name: path for path in sorted(Path(spectra).rglob("spec-*.fits*"))}
    writer = ShardWriter(directory, grid, shard_size=shard_size)
    counts = Counter()
    for row in range(writer.n_finished, len(table)):
        plate, mjd, fiberid = (int(columns[name][row]) for name in ("plate", "mjd", fiber))
        z = columns["z"][row]
        z = np.nan if np.ma.is_masked(z) else float(z)
        weight = float(columns["weight"][row]) if "weight" in columns else 1.0
        quasar = kinds is None or str(kinds[row]).strip().upper().startswith(("QSO", "BLAZAR"))
        path = files.get(spec_file_name(plate, mjd, fiberid))
        label = None
        if not z > -0.5:
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
                snr = (
                    float(np.median(spectrum.flux[good] * np.sqrt(spectrum.ivar[good])))
                    if good.any()
                    else 0.0
                )
                label = (plate, mjd, fiberid, z, quasar, snr, weight)
                counts["used"] += 1
        if label is None:
            writer.add(None, None, None)
        else:
            writer.add(flux, ivar, label)
        if progress:
            progress(row + 1)
    writer.flush()
    return dict(counts)
