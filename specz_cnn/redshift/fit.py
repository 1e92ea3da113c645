"""Redshifts of one spectrum, and of many."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sized
from functools import partial
from io import IOBase
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import HDUList

from specz_cnn.io import SpectrumArrays
from specz_cnn.io.convert import arrays_from_spectrum, split_spectrum
from specz_cnn.io.formats import ReadOptions, read_any
from specz_cnn.parallel import Ready, in_processes, number_of_workers
from specz_cnn.progress import progress_bar
from specz_cnn.redshift.fitter import RESULTS, Fitter
from specz_cnn.redshift.prepare import Prepared, error_text, prepare, prepare_file
from specz_cnn.results.assembly import notes_of, results_table
from specz_cnn.results.flags import RedshiftFlag
from specz_cnn.results.result import RedshiftResult
from specz_cnn.results.tables import TABLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import QTable
    from specutils import Spectrum

    from specz_cnn.io.bitmask import MaskPolicy
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
    mask: MaskPolicy | int = "default",
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
        None means CUDA if there is one, and the CPU where there is none or where it fails; a device that is named must
        do.
    mask : {"ivar", "default", "hard"} or int, optional
        Which pixels of SDSS files are bad, see `specz_cnn.io.bad_pixels`.
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
    arrays = _one_spectrum(spectrum, ReadOptions(format=format, unit=unit, air=air, mask=mask))
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
        description=fitter.description(prepared),
        provenance=fitter.provenance | notes_of({arrays.note: 1} if arrays.note else {}),
    )


def fit_redshifts_cnn(
    spectra: Iterable[Any],
    *,
    model: ModelName | None = None,
    cross_check: ModelName | None = "default",
    device: Device = None,
    mask: MaskPolicy | int = "default",
    batch_size: int = 256,
    n_workers: int | None = 0,
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
    model, cross_check, device, mask
        As for `fit_redshift_cnn`.
    batch_size : int, optional
        Spectra that go through the networks together.  Redshifts do not depend on it.
    n_workers : int or None, optional
        Processes, of one core each, here for reading files; None for all cores, 0 for this process alone.  Spectrum
        objects are always converted in this process.
    progress : bool or None, optional
        Show progress on standard error; None does so on a terminal only.
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
        If ``batch_size``, ``n_workers``, ``mask`` or ``convention`` make no sense.
    WeightsError
        If a model cannot be loaded.
    RuntimeError
        If CUDA is asked for and there is none, or worker processes keep dying.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, not {batch_size}")
    n_workers = number_of_workers(n_workers)
    if isinstance(
        spectra, (str, os.PathLike, SpectrumArrays, *_of_specutils("Spectrum", "SpectrumCollection"))
    ):
        spectra = [spectra]
    elif isinstance(spectra, HDUList | IOBase | bytes | Mapping) or not isinstance(spectra, Iterable):
        # Some of these are iterable: HDUs, lines, bytes and keys are no spectra.
        raise TypeError(f"fit_redshifts_cnn takes spectra or paths, not {_kind(spectra)}; {_READ_FIRST}")
    elif hasattr(spectra, "colnames") or hasattr(spectra, "iloc"):
        # Iterating over a DataFrame gives the names of its columns.
        raise TypeError(
            f"fit_redshifts_cnn takes spectra or paths, not {_kind(spectra)}; give its column of paths"
        )
    options = ReadOptions(format=format, unit=unit, air=air, mask=mask)
    fitter = Fitter(model, cross_check, device, measure=measure, convention=convention)
    total = len(spectra) if isinstance(spectra, Sized) else None
    wanted = [*(name for name, *_ in TABLE_COLUMNS), "note", "device"]
    pieces = []
    with progress_bar(total, show=progress) as bar:
        for batch in _batches(_prepare_all(spectra, fitter.grids, n_workers, options), batch_size):
            found = fitter.fit(batch, with_pdf=False).columns
            pieces.append({name: found[name] for name in wanted})
            bar.update(len(batch))
    return results_table(pieces, fitter.provenance)


def _one_spectrum(spectrum, options):
    """The arrays of one spectrum, or an exception that says why not."""
    if isinstance(spectrum, SpectrumArrays):
        return spectrum
    if isinstance(spectrum, str | os.PathLike):
        spectra = read_any(spectrum, options)
        if len(spectra) > 1:
            raise ValueError(f"{spectrum}: {len(spectra)} spectra in this file; see fit_redshifts_cnn")
        return spectra[0]
    if isinstance(spectrum, _of_specutils("Spectrum")) and spectrum.flux.ndim == 1:
        return arrays_from_spectrum(spectrum, air=options.air)
    other = _READ_FIRST if isinstance(spectrum, HDUList | IOBase) else "see fit_redshifts_cnn"
    raise TypeError(f"fit_redshift_cnn takes one spectrum or path, not {_kind(spectrum)}; {other}")


def _of_specutils(*names):
    """Classes of specutils; none before somebody has imported it, which takes half of the time of a cold start."""
    module = sys.modules.get("specutils")
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def _kind(spectrum):
    name = type(spectrum).__name__
    if isinstance(spectrum, _of_specutils("Spectrum")):
        return f"a {name} of shape {spectrum.flux.shape}"
    return f"a {name}"


def _prepare_all(spectra, grid, n_workers, options):
    """Prepared spectra of all inputs, in order; runs of paths are read by worker processes if there are any."""
    if not n_workers:
        for item in spectra:
            yield from _prepare_item(item, grid, options)
        return

    def tasks():
        for batch in _batches(spectra, _FILES_PER_TASK):
            if all(isinstance(item, str | os.PathLike) for item in batch):
                yield [os.fspath(item) for item in batch]
            else:
                yield Ready([one for item in batch for one in _prepare_item(item, grid, options)])

    read = partial(_prepare_files, grid=grid, options=options)
    for _, prepared in in_processes(read, tasks(), n_workers, preload=["specz_cnn.redshift.prepare"]):
        yield from prepared


def _prepare_files(paths, grid, options):
    return [prepared for path in paths for prepared in prepare_file(path, grid, options)]


def _prepare_item(item, grid, options):
    """Prepared spectra of one input; never none, and never an exception."""
    if isinstance(item, str | os.PathLike):
        yield from prepare_file(item, grid, options)
    elif isinstance(item, SpectrumArrays):
        yield prepare(item, grid)
    elif isinstance(item, (list, tuple, *_of_specutils("Spectrum", "SpectrumCollection"))):
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
