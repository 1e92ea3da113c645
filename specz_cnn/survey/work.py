"""What a worker does: a block of paths in, columns of results out.

This is all that runs in worker processes, on this machine or on a cluster, and all that is sent to them is a
:class:`Job` and paths.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from specz_cnn.io.bitmask import MaskPolicy

__all__ = ["Job", "fit_block", "start_worker"]

#: Columns that are not float64.
_TYPES = {
    "plate": np.int32,
    "mjd": np.int32,
    "fiber": np.int32,
    "flags": np.int64,
    "zwarning_pipe": np.int32,
    "file": str,
    "id": str,
    "note": str,
    "error": str,
    "class_pipe": str,
}

_lock = threading.Lock()


@dataclass(frozen=True)
class Job:
    """How to measure, small and the same for every block.

    Parameters
    ----------
    model, cross_check : str or None
        As `~specz_cnn.redshift.fitter.Fitter` takes them, defaults filled in.
    sha256 : tuple of str
        SHA-256 of the tensors of both; a worker that has other weights under these names refuses to work.
    package : str
        Version of the package; a worker with another one refuses too.
    device : str or None
        None: each worker uses CUDA if it has it.
    mask : str or int
        Mask policy of the reader.
    batch_size : int
        Spectra in one call of a network.
    measure, convention
        As `~specz_cnn.redshift.fitter.Fitter` takes them.
    reading : `~specz_cnn.io.formats.ReadOptions` or None
        How to read files that do not say it themselves.
    """

    model: str
    cross_check: str | None
    sha256: tuple
    package: str
    device: str | None = None
    mask: MaskPolicy | int = "default"
    batch_size: int = 128
    measure: bool = True
    convention: str = "pipeline"
    reading: object = None


def fit_block(paths, job):
    """Read and measure some files.

    Parameters
    ----------
    paths : sequence of str
    job : Job

    Returns
    -------
    dict of str to `~numpy.ndarray`
        The columns of a results table, a row for each spectrum of each path, in order.  A file that cannot be read is a
        row as well.

    Raises
    ------
    RuntimeError
        If this worker has another version of the package or other weights.
    """
    from specz_cnn.io.formats import ReadOptions
    from specz_cnn.redshift.prepare import prepare_file

    with _lock:  # threads of one worker load the networks once
        fitter = _fitter(job)
    options = job.reading or ReadOptions(mask=job.mask)
    # One by one: a file may hold hundreds of spectra, and memory must not grow with their number.
    prepared = (one for path in paths for one in prepare_file(path, fitter.grids, options))
    pieces = []
    while batch := list(islice(prepared, job.batch_size)):
        pieces.append(fitter.fit(batch, with_pdf=False).columns)
    return {name: _column(name, [piece[name] for piece in pieces]) for name in pieces[0]}


@lru_cache(maxsize=2)
def _fitter(job):
    """The networks, loaded once a worker."""
    from specz_cnn.redshift.fitter import Fitter
    from specz_cnn.version import __version__

    if __version__ != job.package:
        raise RuntimeError(f"this worker has specz-cnn {__version__}, the survey is run by {job.package}")
    fitter = Fitter(job.model, job.cross_check, job.device, measure=job.measure, convention=job.convention)
    found = fitter.provenance["model_sha256"], fitter.provenance["cross_check_sha256"]
    if found != tuple(job.sha256):
        raise RuntimeError(
            f"this worker has other weights of {job.model} or {job.cross_check} than the survey"
        )
    return fitter


def _column(name, pieces):
    """One column of all batches; the same type whatever is in it."""
    dtype = _TYPES.get(name, np.float64)
    values = [value for piece in pieces for value in piece]
    return np.array(values, dtype=dtype)


def start_worker():
    """Prepare a process of our own: one core, no answer to Ctrl-C, and an end when the main process has ended."""
    import multiprocessing
    import signal
    from multiprocessing.connection import wait

    import torch

    # Ctrl-C reaches all processes of a terminal; the main one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As many processes as cores, each with one thread, spend no time waiting for each other.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parent = multiprocessing.parent_process()

    def follow():
        # A main process that is killed outright cannot tell its workers, and they would wait for work for ever.
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
