"""Where the spectra of a results table are, and what a network makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from specz_cnn.io.formats import read_any
from specz_cnn.io.names import spec_file_name
from specz_cnn.io.tables import to_text
from specz_cnn.parallel import in_processes

__all__ = ["SpectrumFinder", "network_alone", "read_rows"]

# Spectra are read and measured this many at a time.
_BATCH = 64


class SpectrumFinder:
    """Find the file of each row of a results table.

    Parameters
    ----------
    directory : str, `~pathlib.Path` or None
        Directory of the spectra, searched with everything below it; without one, the paths in the table count as they are.

    Raises
    ------
    NotADirectoryError
        If there is no such directory.
    """

    def __init__(self, directory=None):
        self.directory = None if directory is None else Path(directory)
        if self.directory is not None and not self.directory.is_dir():
            raise NotADirectoryError(f"there is no directory {self.directory}")
        self._below = None

    def find(self, file="", plate=-1, mjd=-1, fiber=-1):
        """The path of a spectrum, or None.

        Parameters
        ----------
        file : str, optional
            Path as the table has it.
        plate, mjd, fiber : int, optional
            The SDSS name, of use where the file is not known.

        Returns
        -------
        `~pathlib.Path` or None
        """
        names = [Path(file).name] if file else []
        if min(plate, mjd, fiber) >= 0:
            names.append(spec_file_name(plate, mjd, fiber))
        if self.directory is None:
            return Path(file) if file and Path(file).is_file() else None
        for name in names:
            direct = self.directory / name
            if direct.is_file():
                return direct
            if name in self._tree():
                return self._tree()[name]
        return None

    def _tree(self):
        """All files below the directory by name, listed when first needed: an SDSS tree has one directory for each plate."""
        if self._below is None:
            self._below = {path.name: path for path in sorted(self.directory.rglob("*.fits*"), reverse=True)}
        return self._below


def read_rows(table, finder, *, fitter=None, model=None, n_workers=0, on_error=None, progress=None):
    """Spectra of a table, one after the other, with their probabilities.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With ``file`` or ``plate``, ``mjd`` and ``fiber``.
    finder : SpectrumFinder
    fitter : `~specz_cnn.redshift.fitter.Fitter`, optional
        Network that gives the probabilities; without one there are none.
    model : str, optional
        Its name or file, from which each process loads it.
    n_workers : int, optional
        Processes that read and measure; with 0 this one does.
    on_error : callable, optional
        Called with the row and a message for each spectrum that is missing or cannot be read.
    progress : callable, optional
        Called with the number of rows done.

    Yields
    ------
    (SpectrumArrays or None, `~numpy.ndarray` or None)
    """
    names = [name for name in ("file", "plate", "mjd", "fiber") if name in table.colnames]

    def places():
        for first in range(0, len(table), _BATCH):
            rows = range(first, min(first + _BATCH, len(table)))
            identities = [_identity(table, names, row) for row in rows]
            yield [
                (row, finder.find(**identity), identity, _id(table, row))
                for row, identity in zip(rows, identities, strict=True)
            ]

    work = _Work(None if fitter is None else model) if n_workers else lambda batch: _measured(batch, fitter)
    preload = ["specz_cnn.redshift.fitter", "specz_cnn.redshift.prepare"]
    for batch, (spectra, pdfs, errors) in in_processes(
        work, places(), n_workers, preload=preload, networks=fitter is not None
    ):
        for row, message in errors:
            if on_error is not None:
                on_error(row, message)
        yield from zip(spectra, pdfs, strict=True)
        if progress is not None:
            progress(batch[-1][0] + 1)


@dataclass(frozen=True)
class _Work:
    """What a process does with some rows; small, so that it can be sent there."""

    model: str | None

    def __call__(self, batch):
        return _measured(batch, None if self.model is None else _loaded(self.model))


def network_alone(model):
    """A network without the fit about its peaks: p(z) is on the bins of its output.

    Parameters
    ----------
    model : str or None

    Returns
    -------
    `~specz_cnn.redshift.fitter.Fitter`
    """
    from specz_cnn.redshift.fitter import Fitter

    return Fitter(model, None, measure=False)


# A process loads its network once.
_loaded = lru_cache(maxsize=1)(network_alone)


def _measured(batch, fitter):
    """Spectra of some rows, their probabilities, and what could not be read."""
    errors = []
    spectra = [
        _read(row, path, identity, name, lambda *error: errors.append(error))
        for row, path, identity, name in batch
    ]
    pdfs = [None] * len(batch) if fitter is None else _probabilities(fitter, spectra)
    return spectra, pdfs, errors


def _identity(table, names, row):
    values = {name: table[name][row] for name in names}
    known = {name: value for name, value in values.items() if not np.ma.is_masked(value)}
    return {name: to_text(value) if name == "file" else int(value) for name, value in known.items()}


def _id(table, row):
    """The survey's name of a spectrum, which tells the spectra of one file apart."""
    return to_text(table["id"][row]) if "id" in table.colnames else ""


@lru_cache(maxsize=1)
def _spectra(path, changed):
    """All spectra of a file; rows of one file follow each other."""
    return read_any(path)


def _read(row, path, identity, name, on_error):
    try:
        if path is None:
            raise FileNotFoundError(f"no file for {identity.get('file') or identity}")
        spectra = _spectra(path, path.stat().st_mtime_ns)
        found = next((one for one in spectra if one.id == name), None if len(spectra) > 1 else spectra[0])
        if found is None:
            raise ValueError(f"{path}: no spectrum {name!r} in this file")
        return found
    except (OSError, ValueError) as error:
        on_error(row, str(error))
        return None


def _probabilities(fitter, spectra):
    """p(z) of each spectrum, None where there is none."""
    from specz_cnn.redshift.prepare import prepare

    present = [i for i, spectrum in enumerate(spectra) if spectrum is not None]
    pdfs = [None] * len(spectra)
    if not present:
        return pdfs
    batch = fitter.fit([prepare(spectra[i], fitter.grids) for i in present])
    if batch.pdf is not None:
        for i, pdf in zip(present, batch.pdf, strict=True):
            pdfs[i] = pdf if np.isfinite(pdf).all() else None
    return pdfs
