"""Redshifts of one spectrum, and of many."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sized
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from io import IOBase
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import HDUList
from specutils import Spectrum, SpectrumCollection
from tqdm import tqdm

from specz_cnn.io import SpectrumArrays
from specz_cnn.io.convert import arrays_from_spectrum, split_spectrum
from specz_cnn.io.formats import ReadOptions, read_any
from specz_cnn.redshift.fitter import RESULTS, Fitter
from specz_cnn.redshift.prepare import Prepared, error_text, prepare, prepare_file, provenance_of
from specz_cnn.results.flags import RedshiftFlag
from specz_cnn.results.result import RedshiftResult
from specz_cnn.results.tables import TABLE_COLUMNS, make_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import QTable

    from specz_cnn.typing import Device, ModelName, PathLike

__all__ = ["fit_redshift_cnn", "fit_redshifts_cnn"]

_FILES_PER_TASK = 64
_READ_FIRST = "read_spec_lite makes a spectrum of an open file"


def fit_redshift_cnn(
    spectrum: Spectrum | SpectrumArrays | PathLike,
    *,
    model: ModelName | None = None,
    cross_check: ModelName | None = "default",
    device: Device = None,
    measure: bool = True,
    convention: str = "pipeline",
    format: str | None = None,
    unit: str | Sequence[str] | None = None,
    air: bool | None = None,
) -> RedshiftResult:
    """Measure the redshift of one quasar spectrum.

    Parameters
    ----------
    spectrum : `~specutils.Spectrum`, path-like or `~specz_cnn.SpectrumArrays`
        One-dimensional, observed wavelengths (or frequencies, energies), flux of any unit; or the path or address of a
        file of any format (`specz_cnn.io.formats`) with one spectrum.  Not changed.
    model : str or path-like, optional
        Name of a packaged model (`~specz_cnn.list_models`) or a weights file; the setting ``conf.default_model``
        (``"rnet-e"``) if not given.
    cross_check : str, path-like or None, optional
        Model that gives the second opinion, None for none; by default the setting ``conf.default_cross_check``
        (``"rnet-pz"``), or the default model where that is the model itself.
    device : str, `torch.device` or None, optional
        None means CUDA if there is one, else the CPU.
    measure : bool, optional
        Networks find, eigenspectra measure: sharpen p(z) of the network by a fit about its peaks
        (`specz_cnn.redshift.measure`).  False leaves the network's own answer, in the frame that it was trained in.
    convention : {"pipeline", "catalogue"}, optional
        Whose redshift ``z`` is where Lyman alpha is in view: that of SDSS's pipeline, from all wavelengths, or that of its
        quasar catalogues, without the forest.
    format : str, optional
        Format of the file, where its content does not tell (`specz_cnn.io.formats.format_labels`).
    unit : str or sequence of str, optional
        Units of the wavelengths, the flux, or both, for files without: ``"nm"``, ``("nm", "Jy")``.
    air : bool, optional
        Whether wavelengths are those in air; by default what the spectrum says, and vacuum where it says nothing.

    Returns
    -------
    RedshiftResult

    Raises
    ------
    TypeError
        If this is not one spectrum.
    ValueError
        If it cannot be used: no wavelengths, no usable pixel, no finite answer of the network.
    OSError
        If the file cannot be read.
    WeightsError
        If a model cannot be loaded.
    RuntimeError
        If CUDA is asked for and there is none.

    Examples
    --------
    >>> import specz_cnn
    >>> result = specz_cnn.fit_redshift_cnn("spec-3586-55181-0076.fits")  # doctest: +SKIP
    """
    arrays = _one_spectrum(spectrum, ReadOptions(format=format, unit=unit, air=air))
    fitter = Fitter(model, cross_check, device, measure=measure, convention=convention)
    prepared = prepare(arrays, fitter.grids)
    if prepared.flux is None:
        raise ValueError(f"cannot measure {arrays.file or 'this spectrum'}: {prepared.error}")
    batch = fitter.fit([prepared])
    z = float(batch.columns["z"][0])
    if not np.isfinite(z):
        raise ValueError(f"cannot measure {arrays.file or 'this spectrum'}: {batch.columns['error'][0]}")
    return RedshiftResult(
        **{name: float(batch.columns[name][0]) for name in RESULTS},
        flags=RedshiftFlag(int(batch.columns["flags"][0])),
        pdf=batch.pdf[0],
        step=batch.step,
        spectrum=arrays,
        model_flux=fitter.model_flux(prepared, z, arrays.loglam),
        provenance=fitter.provenance | provenance_of({arrays.note: 1} if arrays.note else {}),
    )


def fit_redshifts_cnn(
    spectra: Iterable[Any],
    *,
    model: ModelName | None = None,
    cross_check: ModelName | None = "default",
    device: Device = None,
    batch_size: int = 256,
    n_workers: int = 0,
    progress: bool | None = None,
    measure: bool = True,
    convention: str = "pipeline",
    format: str | None = None,
    unit: str | Sequence[str] | None = None,
    air: bool | None = None,
) -> QTable:
    """Measure the redshifts of many spectra.

    Parameters
    ----------
    spectra : iterable, `~specutils.SpectrumList`, `~specutils.SpectrumCollection` or `~specutils.Spectrum`
        Paths of files of any format, spectra, or a mixture; a file with several spectra gives a row for each, and so
        does a spectrum of more dimensions, in C order.  Not changed.
    model, cross_check, device
        As for `fit_redshift_cnn`.
    batch_size : int, optional
        Spectra that go through the networks together.  Redshifts do not depend on it.
    n_workers : int, optional
        Processes that read files; 0 reads in this process.  Spectrum objects are always converted in this process.
        A script that uses it needs the usual ``if __name__ == "__main__":``.
    progress : bool, optional
        Show progress on stderr; by default if that is a terminal.
    measure, convention, format, unit, air
        As for `fit_redshift_cnn`.

    Returns
    -------
    `~astropy.table.QTable`
        One row for each input, in the same order, with the columns of `specz_cnn.results.TABLE_COLUMNS`.  An input
        that cannot be used has ``z = NaN``, a flag and a message in ``error``.

    Raises
    ------
    TypeError
        If these are no spectra at all.
    ValueError
        If ``batch_size`` or ``n_workers`` make no sense.
    WeightsError
        If a model cannot be loaded.
    RuntimeError
        If CUDA is asked for and there is none.
    """
    if batch_size < 1 or n_workers < 0:
        raise ValueError(f"batch_size must be positive and n_workers not negative: {batch_size}, {n_workers}")
    if isinstance(spectra, str | os.PathLike | Spectrum | SpectrumCollection | SpectrumArrays):
        spectra = [spectra]
    elif isinstance(spectra, HDUList | IOBase | bytes | Mapping) or not isinstance(spectra, Iterable):
        # Some of these are iterable: HDUs, lines, bytes and keys are no spectra.
        raise TypeError(f"fit_redshifts_cnn takes spectra or paths, not {_kind(spectra)}; {_READ_FIRST}")
    elif hasattr(spectra, "colnames") or hasattr(spectra, "iloc"):
        # Iterating over a DataFrame gives the names of its columns.
        raise TypeError(
            f"fit_redshifts_cnn takes spectra or paths, not {_kind(spectra)}; give its column of paths"
        )
    options = ReadOptions(format=format, unit=unit, air=air)
    fitter = Fitter(model, cross_check, device, measure=measure, convention=convention)
    total = len(spectra) if isinstance(spectra, Sized) else None
    hidden = not _is_terminal(sys.stderr) if progress is None else not progress
    columns: dict[str, list[Any]] = {name: [] for name, *_ in TABLE_COLUMNS}
    notes: Counter[str] = Counter()
    with tqdm(total=total, disable=hidden, unit="spectra", file=sys.stderr) as bar:
        for batch in _batches(_prepare_all(spectra, fitter.grids, n_workers, options), batch_size):
            found = fitter.fit(batch, with_pdf=False).columns
            for name, values in columns.items():
                values.extend(found[name])
            notes.update(note for note in found["note"] if note)
            bar.update(len(batch))
    return make_table(columns, fitter.provenance | provenance_of(notes))


def _one_spectrum(spectrum, options):
    """The arrays of one spectrum, or an exception that says why not."""
    if isinstance(spectrum, SpectrumArrays):
        return spectrum
    if isinstance(spectrum, str | os.PathLike):
        spectra = read_any(spectrum, options)
        if len(spectra) > 1:
            raise ValueError(f"{spectrum}: {len(spectra)} spectra in this file; see fit_redshifts_cnn")
        return spectra[0]
    if isinstance(spectrum, Spectrum) and spectrum.flux.ndim == 1:
        return arrays_from_spectrum(spectrum, air=options.air)
    other = _READ_FIRST if isinstance(spectrum, HDUList | IOBase) else "see fit_redshifts_cnn"
    raise TypeError(f"fit_redshift_cnn takes one spectrum or path, not {_kind(spectrum)}; {other}")


def _is_terminal(stream):
    """Whether a stream is a terminal; there may be none, or one that cannot be asked (a logger)."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def _kind(spectrum):
    name = type(spectrum).__name__
    return f"a {name} of shape {spectrum.flux.shape}" if isinstance(spectrum, Spectrum) else f"a {name}"


def _prepare_all(spectra, grid, n_workers, options):
    """Prepared spectra of all inputs, in order; runs of paths are read by worker processes if there are any."""
    if not n_workers:
        for item in spectra:
            yield from _prepare_item(item, grid, options)
        return
    # Not "fork": torch has threads by now, and a forked process inherits their locks.
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    with ProcessPoolExecutor(n_workers, mp_context=context) as pool:
        # A few tasks ahead of the network, so that memory stays bounded however slow it is.
        pending = deque()
        for batch in _batches(spectra, _FILES_PER_TASK):
            if all(isinstance(item, str | os.PathLike) for item in batch):
                pending.append((_submit(pool, batch, grid, options), batch))
            else:
                pending.append(
                    ([prepared for item in batch for prepared in _prepare_item(item, grid, options)], batch)
                )
            if len(pending) > 2 * n_workers:
                yield from _result(*pending.popleft(), grid, options)
        while pending:
            yield from _result(*pending.popleft(), grid, options)


def _submit(pool, paths, grid, options):
    """A task of the pool, or None if its processes have died."""
    try:
        return pool.submit(_prepare_files, paths, grid, options)
    except BrokenProcessPool:
        return None


def _result(task, batch, grid, options):
    if isinstance(task, list):
        return task
    if task is not None:
        try:
            return task.result()
        except BrokenProcessPool:
            warnings.warn("a worker process died; reading in this process", RuntimeWarning, stacklevel=4)
    return _prepare_files(batch, grid, options)


def _prepare_files(paths, grid, options):
    return [prepared for path in paths for prepared in prepare_file(path, grid, options)]


def _prepare_item(item, grid, options):
    """Prepared spectra of one input; never none, and never an exception."""
    if isinstance(item, str | os.PathLike):
        yield from prepare_file(item, grid, options)
    elif isinstance(item, SpectrumArrays):
        yield prepare(item, grid)
    elif isinstance(item, Spectrum | SpectrumCollection | list | tuple):
        try:
            parts = list(split_spectrum(item))
            if not parts:
                raise ValueError(f"{_kind(item)} without any spectrum in it")
        except Exception as error:  # noqa: BLE001 - whatever a foreign object raises, its row must not be lost
            yield _bad_input(error)
            return
        for part in parts:
            try:
                yield prepare(arrays_from_spectrum(part, air=options.air), grid)
            except Exception as error:  # noqa: BLE001
                yield _bad_input(error)
    else:
        yield _bad_input(TypeError(f"neither a spectrum nor a path but a {type(item).__name__}"))


def _bad_input(error):
    return Prepared(flags=int(RedshiftFlag.BAD_INPUT), error=error_text(error))


def _batches(items, size):
    """Lists of up to ``size`` consecutive items."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
