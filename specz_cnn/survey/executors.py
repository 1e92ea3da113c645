"""Who does the work: processes of this machine, or the workers of a Dask cluster; blocks come back in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager

from specz_cnn.survey.manifest import SurveyError
from specz_cnn.survey.work import fit_block, start_worker

__all__ = ["available_cores", "cluster_results", "local_results", "serial_results"]

# What a worker needs; importing it takes seconds.
_PRELOAD = [
    "torch",
    "specz_cnn.survey.work",
    "specz_cnn.redshift.fitter",
    "specz_cnn.models.preprocess",
    "specz_cnn.models.rnet_e",
]

_RESTARTS = 3  # of the processes, without a single block done in between
_RETRIES = 3  # of a block whose worker of the cluster was lost or failed


def available_cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serial_results(blocks, job):
    """Measure blocks one after the other in this process; yields ``(block, columns)``."""
    for block in blocks:
        yield block, fit_block(block.paths, job)


def local_results(blocks, job, n_workers):
    """Measure blocks in processes of this machine.

    Only a few blocks per process are under way at any time, so that memory does not grow with the survey.  When a
    process dies (out of memory, for example), all are started anew and what was under way is done again.

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
    pool, pending, deaths = _pool(n_workers), deque(), 0
    try:
        while True:
            try:
                for i, (block, future) in enumerate(pending):
                    if future is None:
                        pending[i] = block, _submit(pool, block, job)
                while len(pending) < 3 * n_workers and (block := next(blocks, None)) is not None:
                    pending.append((block, None))
                    pending[-1] = block, _submit(pool, block, job)
                if not pending:
                    return
                block, future = pending[0]
                columns = future.result()
            except BrokenExecutor:
                deaths += 1
                if deaths > _RESTARTS:
                    raise SurveyError(
                        f"worker processes died {deaths} times in a row: is the memory enough for {n_workers} of them?"
                    ) from None
                pool.shutdown(wait=True, cancel_futures=True)
                pool = _pool(n_workers)
                pending = deque((block, None) for block, _ in pending)
                continue
            deaths = 0
            pending.popleft()
            yield block, columns
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pool(n_workers):
    # Not "fork": torch has threads by now.  A fork server imports everything once, for all processes.
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
    else:
        context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=start_worker)


def _submit(pool, block, job):
    with _no_interrupts():  # processes are started here, and inherit it
        return pool.submit(fit_block, block.paths, job)


@contextmanager
def _no_interrupts():
    """Hold back Ctrl-C, so that processes started meanwhile never see one: not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    pending = deque()
    try:
        while True:
            while len(pending) < window.size and (block := next(blocks, None)) is not None:
                # Not pure: equal paths are measured anew, as files may have changed since.
                future = client.submit(fit_block, block.paths, job, pure=False, retries=_RETRIES)
                pending.append((block, future))
            if not pending:
                return
            block, future = pending.popleft()
            yield block, future.result()
            future.release()
    finally:
        client.cancel([future for _, future in pending])


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
