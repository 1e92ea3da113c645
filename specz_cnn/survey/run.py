"""Run a survey: from any number of files to a directory of parts."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from specz_cnn.io.formats import ReadOptions
from specz_cnn.io.tables import read_arrays
from specz_cnn.io.whole import remove_unfinished
from specz_cnn.parallel import available_cores, number_of_workers
from specz_cnn.progress import progress_bar
from specz_cnn.redshift.provenance import PROVENANCE, provenance_of
from specz_cnn.results.assembly import results_table
from specz_cnn.results.tables import TABLE_COLUMNS
from specz_cnn.survey.executors import cluster_results, local_results, serial_results
from specz_cnn.survey.inputs import read_paths
from specz_cnn.survey.lock import locked
from specz_cnn.survey.manifest import SurveyError, open_manifest
from specz_cnn.survey.metrics import json_log
from specz_cnn.survey.parts import FORMATS, count_rows, part_path
from specz_cnn.survey.summary import SurveySummary
from specz_cnn.survey.work import Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import QTable

    from specz_cnn.io.bitmask import MaskPolicy
    from specz_cnn.typing import Device, ModelName, PathLike

__all__ = ["fit_files", "fit_survey", "read_survey"]

_BATCHES_PER_BLOCK = 2


@dataclass(frozen=True)
class Block:
    """Some paths of one part, the unit of work.

    Parameters
    ----------
    part : int
    paths : list of str
    last : bool
        Whether the part ends here.
    """

    part: int
    paths: list
    last: bool


def fit_survey(
    sources: Any,
    output: PathLike,
    *,
    model: ModelName | None = None,
    cross_check: ModelName | None = "default",
    device: Device = None,
    mask: MaskPolicy | int = "default",
    batch_size: int = 128,
    rows_per_part: int = 20_000,
    format: str = "parquet",
    n_workers: int | None = None,
    client: Any = None,
    resume: bool = False,
    progress: bool | None = None,
    measure: bool = True,
    convention: str = "pipeline",
    input_format: str | None = None,
    unit: str | Sequence[str] | None = None,
    air: bool | None = None,
    log: PathLike | None = None,
) -> SurveySummary:
    """Measure the redshifts of any number of spectrum files.

    Memory does not grow with their number.  Every file becomes a row, also one that cannot be read, and one with several
    spectra a row for each.  The rows are those of `~specz_cnn.fit_redshifts_cnn`, in order of the files.

    Parameters
    ----------
    sources : path-like, list of path-like, iterator of path-like, or None
        Files, addresses, patterns, and directories, which stand for all spectrum files below them.  An iterator
        (`read_list`, `table_paths`) is taken as it is, path by path.  None continues with the list of an earlier run.
    output : path-like
        Directory to write to; made if it does not exist.
    model, cross_check : str, path-like or None, optional
        As for `~specz_cnn.fit_redshifts_cnn`.
    device : str, `torch.device` or None, optional
        None means CUDA if there is one, and the CPU where there is none or where it fails; a device that is named must
        do.  Each worker process uses the device.
    mask : {"ivar", "default", "hard"} or int, optional
        Which pixels of SDSS files are bad, see `specz_cnn.io.bad_pixels`.
    batch_size : int, optional
        Spectra in one call of a network.
    rows_per_part : int, optional
        A kill costs at most the work for one part.
    format : {"parquet", "fits"}, optional
        Of the parts; Parquet needs pyarrow.
    n_workers : int or None, optional
        Processes, of one core each; None for all cores, 0 for this process alone.
    client : `distributed.Client`, optional
        Work on this Dask cluster instead.  Its workers must see the files under the same paths.
    resume : bool, optional
        Continue what a killed run left: finished parts stay as they are.
    progress : bool or None, optional
        Show progress on standard error; None does so on a terminal only, True also in a log, as a line a minute.
    measure, convention
        As for `~specz_cnn.fit_redshifts_cnn`.
    input_format, unit, air
        As ``format``, ``unit``, ``air`` of `~specz_cnn.fit_redshifts_cnn`.
    log : path-like, optional
        Append a line of JSON for each block of spectra to this file, and one with the metrics of the run at its end.

    Returns
    -------
    SurveySummary

    Raises
    ------
    SurveyError
        If there is a survey in ``output`` already and ``resume`` is false, or it cannot be continued like this.
    OutputBusy
        If another run is writing to it.
    OSError
        If it cannot be written; parts finished before are kept.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if batch_size < 1 or rows_per_part < 1:
        raise ValueError("batch_size and rows_per_part must be positive")
    start = time.monotonic()
    n_workers = number_of_workers(n_workers)
    reading = ReadOptions(format=input_format, unit=unit, air=air, mask=mask)
    job, settings = _plan(model, cross_check, device, reading, batch_size, measure, convention, client)
    settings |= {"rows_per_part": rows_per_part, "format": format}
    if reading != ReadOptions(mask=mask):
        settings |= {"input_format": reading.format, "unit": list(reading.unit or ()), "air": reading.air}
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output):
        manifest = open_manifest(output, sources, settings, resume=resume)
        remove_unfinished(output)
        summary = SurveySummary()
        finished = _finished_parts(manifest, summary)
        blocks = _blocks(manifest, finished)
        if client is not None:
            results = cluster_results(blocks, job, client)
        elif n_workers == 0:
            results = serial_results(blocks, job)
        else:
            left = manifest.n_spectra - summary.n_rows
            useful = -(-left // (_BATCHES_PER_BLOCK * batch_size))
            results = local_results(blocks, job, max(1, min(n_workers, useful)))
        with (
            closing(results),
            progress_bar(manifest.n_spectra, done=summary.n_rows, show=progress) as bar,
            json_log(log, settings, summary, manifest.n_spectra) as metrics,
        ):
            _write_parts(manifest, results, summary, bar, metrics)
        summary.seconds = time.monotonic() - start
    return summary


def fit_files(
    paths: Sequence[PathLike],
    *,
    model: ModelName | None = None,
    cross_check: ModelName | None = "default",
    device: Device = None,
    mask: MaskPolicy | int = "default",
    batch_size: int = 128,
    n_workers: int | None = None,
    progress: bool | None = None,
    measure: bool = True,
    convention: str = "pipeline",
    input_format: str | None = None,
    unit: str | Sequence[str] | None = None,
    air: bool | None = None,
) -> QTable:
    """Measure the redshifts of many spectrum files with all cores, into one table.

    The table is that of `~specz_cnn.fit_redshifts_cnn`; this is how a survey makes it.

    Parameters
    ----------
    paths : list of path-like
        Files.
    model, cross_check, device, mask, batch_size, n_workers, measure, convention, input_format, unit, air
        As for `fit_survey`.
    progress : bool or None, optional
        Show progress on standard error; None does so on a terminal only.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each file, in order.

    Raises
    ------
    SurveyError
        If worker processes keep dying.
    """
    n_workers = number_of_workers(n_workers)
    paths = [os.fspath(path) for path in paths]
    reading = ReadOptions(format=input_format, unit=unit, air=air, mask=mask)
    job, settings = _plan(model, cross_check, device, reading, batch_size, measure, convention)
    size = max(1, min(_BATCHES_PER_BLOCK * batch_size, -(-len(paths) // (n_workers or available_cores()))))
    starts = range(0, max(len(paths), 1), size)
    blocks = (Block(0, paths[start : start + size], False) for start in starts)
    results = (
        local_results(blocks, job, max(1, min(n_workers, len(starts))))
        if n_workers
        else serial_results(blocks, job)
    )
    pieces = []
    with progress_bar(len(paths), show=progress) as bar, closing(results):
        for block, columns in results:
            pieces.append(columns)
            bar.update(len(block.paths))
    return results_table(pieces, {name: settings[name] for name in PROVENANCE})


def _plan(model, cross_check, device, reading, batch_size, measure, convention, client=None):
    """The job for workers, and the settings that a continued run must share."""
    from specz_cnn.models import model_info
    from specz_cnn.models.output import resolve_device
    from specz_cnn.redshift.fitter import default_models
    from specz_cnn.version import __version__

    model, cross_check = (_plain(name) for name in default_models(model, cross_check))
    info, check = (model_info(name) if name else None for name in (model, cross_check))
    insist = device is not None
    if client is None:
        device = resolve_device(device)
    elif device is None:
        # Whatever one worker has, all must use, or the results would depend on where a file was read.
        device = client.submit(resolve_device, None, pure=False).result()
    provenance = provenance_of(info, check, measure=measure, convention=convention, device=device)
    job = Job(
        model,
        cross_check,
        (provenance["model_sha256"], provenance["cross_check_sha256"]),
        __version__,
        device=str(device),
        insist=insist,
        batch_size=batch_size,
        measure=bool(measure),
        convention=convention,
        reading=reading,
    )
    return job, {**provenance, "mask": reading.mask, "batch_size": batch_size}


def _plain(name):
    """A model's name; of a weights file the absolute path, as workers may run elsewhere.

    The name of a packaged model stays what it is, whatever files there are.
    """
    from specz_cnn.models.registry import is_packaged

    if isinstance(name, os.PathLike) or (name and not is_packaged(name) and os.path.isfile(name)):
        return os.path.abspath(name)
    return name


def _finished_parts(manifest, summary):
    """Parts that an earlier run has finished; their rows are counted."""
    finished = set()
    for part in range(manifest.n_parts):
        path = part_path(manifest.directory, part, manifest.settings["format"])
        # A file may be several rows.
        if path.exists() and count_rows(path) >= manifest.rows_of(part):
            summary.add(read_arrays(path, ["file", "flags", "error"]), earlier=True)
            finished.add(part)
    return finished


def _blocks(manifest, finished):
    """Blocks of all parts that are not finished, in order, read from the list as they are needed."""
    size = _BATCHES_PER_BLOCK * manifest.settings["batch_size"]
    paths = read_paths(manifest.inputs)
    for part in range(manifest.n_parts):
        left = manifest.rows_of(part)
        if part in finished:
            next(islice(paths, left - 1, left))
            continue
        while left:
            block = list(islice(paths, min(size, left)))
            left -= len(block)
            yield Block(part, block, left == 0)


def _write_parts(manifest, results, summary, bar, metrics):
    """Collect blocks, and write a part when its last one has come."""
    pieces = []
    for block, columns in results:
        pieces.append(columns)
        summary.add(columns)
        bar.update(len(block.paths))
        if metrics is not None:
            metrics.block(block.part, columns)
        if block.last:
            path = part_path(manifest.directory, block.part, manifest.settings["format"])
            try:
                _write_part(pieces, manifest.settings, path)
            except OSError as error:
                raise SurveyError(
                    f"cannot write {path}: {error.strerror or error}. Parts finished before are kept; "
                    "with resume the survey continues after them."
                ) from error
            pieces = []


def _write_part(pieces, settings, path):
    from specz_cnn.results.tables import write_table

    names = [name for name, *_ in TABLE_COLUMNS]
    write_table(results_table(pieces, {name: settings[name] for name in PROVENANCE}, names=names), path)


def read_survey(directory: PathLike, *, columns: Sequence[str] | None = None) -> QTable:
    """The results of a survey as one table.

    Parameters
    ----------
    directory : path-like
        Output of `fit_survey`; of one that is not finished, the parts that are.
    columns : sequence of str, optional
        Read these columns only: a table of five million rows needs about 2 GB.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    SurveyError
        If the directory holds no finished part.
    """
    from specz_cnn.results.assembly import join_columns
    from specz_cnn.results.tables import make_table
    from specz_cnn.survey.manifest import read_manifest

    manifest = read_manifest(directory)
    paths = [part_path(directory, part, manifest.settings["format"]) for part in range(manifest.n_parts)]
    paths = [path for path in paths if path.exists()]
    if not paths:
        raise SurveyError(f"{directory} holds no finished part yet")
    known = [name for name, *_ in TABLE_COLUMNS]
    unknown = [name for name in columns or () if name not in known]
    if unknown:
        raise ValueError(f"no columns {', '.join(unknown)}; a results table has {', '.join(known)}")
    values = join_columns([read_arrays(path, columns) for path in paths])
    return make_table(values, {name: manifest.settings[name] for name in PROVENANCE}, names=list(values))
