"""From the columns of batches to a table of results: one way for lists of spectra and for surveys."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.results.tables import TABLE_COLUMNS, make_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.table import QTable

__all__ = ["join_columns", "notes_of", "results_table"]

_TYPES = {name: dtype for name, dtype, *_ in TABLE_COLUMNS}


def join_columns(pieces: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Columns one below the other, of the same types whatever is in them.

    Parameters
    ----------
    pieces : sequence of dict
        Of batches; those of a results table, and texts that describe rows (``note``, ``device``).

    Returns
    -------
    dict of str to `~numpy.ndarray`
    """
    columns = {}
    for name in pieces[0] if pieces else [*_TYPES, "note", "device"]:
        dtype = _TYPES.get(name, str)
        parts = [np.asarray(piece[name], dtype=dtype) for piece in pieces if len(piece[name])]
        columns[name] = np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
    return columns


def results_table(
    pieces: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any], *, names: Sequence[str] | None = None
) -> QTable:
    """The table of results of some batches.

    Parameters
    ----------
    pieces : sequence of dict
        Columns of each, as `specz_cnn.redshift.fitter.Fitter` makes them.
    provenance : dict
        What is known before anything is measured; what the rows say of devices and of their input is added.
    names : collection of str, optional
        As for `~specz_cnn.results.tables.make_table`.

    Returns
    -------
    `~astropy.table.QTable`
    """
    columns = join_columns(pieces)
    provenance = dict(provenance)
    devices = list(dict.fromkeys(str(name) for name in columns.get("device", ()) if name))
    if devices:
        provenance["device"] = ", ".join(devices)
    provenance |= notes_of(Counter(str(note) for note in columns.get("note", ()) if note))
    return make_table(columns, provenance, names=names)


def notes_of(notes: Mapping[str, int]) -> dict[str, str]:
    """What was done to spectra when they were read, as an entry of a provenance.

    Parameters
    ----------
    notes : mapping of str to int
        Note (`SpectrumArrays.note`): number of spectra.

    Returns
    -------
    dict
        With the key ``"input"``, or empty.
    """
    texts = [f"{note} ({number})" if number > 1 else note for note, number in sorted(notes.items())]
    return {"input": "; ".join(texts)} if texts else {}
