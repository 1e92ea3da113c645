"""What a worker does: a block of paths in, columns of results out.

This is all that runs in worker processes, on this machine or on a cluster, and all that is sent to them is a
:class:`Job` and paths.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from specz_cnn.results.assembly import join_columns

if TYPE_CHECKING:
    from specz_cnn.io.formats import ReadOptions

__all__ = ["Job", "fit_block"]

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
    insist : bool
        Whether a device that fails is an error; else the work goes on on the CPU.
    batch_size : int
        Spectra in one call of a network.
    measure, convention
        As `~specz_cnn.redshift.fitter.Fitter` takes them.
    reading : `~specz_cnn.io.formats.ReadOptions`, optional
        Mask policy, and how to read files that do not say it themselves.
    """

    model: str
    cross_check: str | None
    sha256: tuple
    package: str
    device: str | None = None
    insist: bool = True
    batch_size: int = 128
    measure: bool = True
    convention: str = "pipeline"
    reading: ReadOptions | None = None


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
    from specz_cnn.redshift.prepare import prepare_file

    with _lock:  # threads of one worker load the networks once
        fitter = _fitter(job)
    # One by one: a file may hold hundreds of spectra, and memory must not grow with their number.
    prepared = (one for path in paths for one in prepare_file(path, fitter.grids, job.reading))
    pieces = []
    while batch := list(islice(prepared, job.batch_size)):
        pieces.append(fitter.fit(batch, with_pdf=False).columns)
    return join_columns(pieces)


@lru_cache(maxsize=2)
def _fitter(job):
    """The networks, loaded once a worker."""
    from specz_cnn.redshift.fitter import Fitter
    from specz_cnn.version import __version__

    if __version__ != job.package:
        raise RuntimeError(f"this worker has specz-cnn {__version__}, the survey is run by {job.package}")
    how = {"measure": job.measure, "convention": job.convention, "insist": job.insist}
    fitter = Fitter(job.model, job.cross_check, job.device, **how)
    found = fitter.provenance["model_sha256"], fitter.provenance["cross_check_sha256"]
    if found != tuple(job.sha256):
        raise RuntimeError(
            f"this worker has other weights of {job.model} or {job.cross_check} than the survey"
        )
    return fitter
