"""Who does the work: processes of this machine, or the workers of a Dask cluster; blocks come back in order."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from functools import partial

from specz_cnn.parallel import WorkersDied, in_processes, on_one_core
from specz_cnn.survey.manifest import SurveyError
from specz_cnn.survey.work import fit_block

__all__ = ["cluster_results", "local_results", "serial_results"]

# What a worker needs; importing it takes seconds.
_PRELOAD = [
    "torch",
    "specz_cnn.survey.work",
    "specz_cnn.redshift.fitter",
    "specz_cnn.models.preprocess",
    "specz_cnn.models.rnet_e",
]

_RETRIES = 3  # of a block whose worker of the cluster was lost or failed


def serial_results(blocks, job):
    """Measure blocks one after the other in this process; yields ``(block, columns)``."""
    for block in blocks:
        yield block, fit_block(block.paths, job)


def local_results(blocks, job, n_workers):
    """Measure blocks in processes of this machine.

    Parameters
    ----------
    blocks : iterator of Block
    job : Job
    n_workers : int

    Yields
    ------
    block, columns
        In order.

    Raises
    ------
    SurveyError
        If processes keep dying.
    """
    work = partial(_fit, job=job)
    try:
        yield from in_processes(work, blocks, n_workers, preload=_PRELOAD, networks=True)
    except WorkersDied as error:
        raise SurveyError(str(error)) from None


def _fit(block, job):
    return fit_block(block.paths, job)


def cluster_results(blocks, job, client):
    """Measure blocks on a Dask cluster, which does those of a lost worker again.

    Parameters
    ----------
    blocks : iterator of Block
    job : Job
    client : `distributed.Client`

    Yields
    ------
    block, columns
        In order.
    """
    window = _Window(client)
    here = _this_process()
    pending = deque()
    try:
        while True:
            while len(pending) < window.size and (block := next(blocks, None)) is not None:
                # Not pure: equal paths are measured anew, as files may have changed since.
                future = client.submit(_fit_remotely, block.paths, job, here, pure=False, retries=_RETRIES)
                pending.append((block, future))
            if not pending:
                return
            block, future = pending.popleft()
            yield block, future.result()
            future.release()
    finally:
        client.cancel([future for _, future in pending])


def _fit_remotely(paths, job, home):
    """In a worker of a cluster: one of a single thread, if a process of its own, is set up as those of `local_results`."""
    from distributed import get_worker

    if get_worker().state.nthreads == 1 and _this_process() != home:
        on_one_core()
    return fit_block(paths, job)


def _this_process():
    return socket.gethostname(), os.getpid()


class _Window:
    """How many blocks to keep under way: enough for all threads of a cluster that may grow and shrink."""

    def __init__(self, client):
        self.client = client
        self.checked = -1e9
        self.value = 0

    @property
    def size(self):
        if time.monotonic() - self.checked > 2.0:
            self.checked = time.monotonic()
            self.value = max(3 * sum(self.client.nthreads().values()), 8)
        return self.value
