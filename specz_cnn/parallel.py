"""Work on many items in processes of this machine, results in order: one pool for reading, fitting and drawing."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing import spawn
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Ready", "WorkersDied", "available_cores", "in_processes", "number_of_workers", "on_one_core"]

_RESTARTS = 3  # of the processes, without a single item done in between
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_KEPT = 1 << 30  # bytes
_AHEAD = 3  # items under way for each process, so that memory does not grow with their number

_starting_lock = threading.Lock()


class WorkersDied(RuntimeError):
    """Worker processes died, again and again."""


class _CannotStart(Exception):
    """This machine or this process may have no (more) processes."""


@dataclass(frozen=True)
class Ready:
    """An item whose result is known: it only takes its place among the others."""

    value: Any


def available_cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def number_of_workers(n_workers):
    """How many processes ``n_workers`` asks for: None stands for one for each core.

    Raises
    ------
    ValueError
        If it is negative, or no integer.
    """
    if n_workers is None:
        return available_cores()
    if isinstance(n_workers, bool) or int(n_workers) != n_workers or n_workers < 0:
        raise ValueError(
            f"n_workers must be None for all cores, 0 for this process, or a number, not {n_workers}"
        )
    return int(n_workers)


def in_processes(function, items, n_workers, *, preload=(), networks=False):
    """Apply a function to items, in processes of one core each.

    When a process dies (out of memory, for example), all are started anew and what was under way is done again.  Workers
    do not import the main module of the program, so that a script needs no ``if __name__ == "__main__":``, and may come
    from standard input; what is sent to them must not be defined there.

    Parameters
    ----------
    function : callable
        Of one argument; it and what it takes and returns can be pickled.
    items : iterable
        Those that are `Ready` have their result already.
    n_workers : int
        With 0 the work is done in this process.
    preload : sequence of str
        Modules that the processes need, imported once for all of them.
    networks : bool, optional
        Whether the function runs networks.

    Yields
    ------
    item, result
        In order.

    Raises
    ------
    WorkersDied
        If processes keep dying.
    """
    items = iter(items)
    if not n_workers:
        for item in items:
            yield item, item.value if isinstance(item, Ready) else function(item)
        return
    pool = _pool(n_workers, preload, networks)
    pending: deque[list[Any]] = deque()
    deaths = 0
    try:
        while True:
            try:
                for task in pending:
                    if task[1] is None:
                        task[1] = _result_of(pool, function, task[0])
                while len(pending) < _AHEAD * n_workers and (item := next(items, None)) is not None:
                    pending.append([item, None])
                    pending[-1][1] = _result_of(pool, function, item)
                if not pending:
                    break
                item, future = pending[0]
                result = future.value if isinstance(future, Ready) else future.result()
            except _CannotStart as error:
                warnings.warn(
                    f"no worker process can be started ({error}); working in this process",
                    RuntimeWarning,
                    stacklevel=2,
                )
                items = chain([task[0] for task in pending], items)
                yield from in_processes(function, items, 0)
                break
            except BrokenExecutor:
                deaths += 1
                if deaths > _RESTARTS:
                    raise WorkersDied(
                        f"worker processes died {deaths} times in a row: is the memory enough for {n_workers} of them?"
                    ) from None
                pool.shutdown(wait=True, cancel_futures=True)
                pool = _pool(n_workers, preload, networks)
                for task in pending:
                    if not isinstance(task[1], Ready):
                        task[1] = None
                continue
            deaths = 0
            pending.popleft()
            yield item, result
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()  # not left to the end of the program, where Python is in a race with itself


def _pool(n_workers, preload, networks):
    # Not "fork": torch has threads by now, and a forked process inherits their locks.  A fork server imports everything
    # once, for all processes.
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["specz_cnn.parallel", *preload])
    else:
        context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        n_workers, mp_context=context, initializer=start_worker if networks else start_reader
    )


def _result_of(pool, function, item):
    return item if isinstance(item, Ready) else _submit(pool, function, item)


def _submit(pool, function, argument):
    with _starting():
        try:
            return pool.submit(function, argument)
        except (
            OSError,
            AssertionError,
        ) as error:  # no more processes, or this is a daemon, which may have none
            raise _CannotStart(error) from None


@contextmanager
def _starting():
    """While processes are started: hold back Ctrl-C, which they inherit and so never see, and keep the main module out.

    Python tells a new process to import the main module, which for a script without ``if __name__ == "__main__":`` means
    to run it again, and for standard input fails.  The workers need nothing of it.
    """
    describe, caller = spawn.get_preparation_data, threading.get_ident()

    def without_main(name):
        data = describe(name)
        if threading.get_ident() == caller:  # processes that others start meanwhile are none of ours
            data = {key: value for key, value in data.items() if not key.startswith("init_main")}
        return data

    with _starting_lock, _no_interrupts():
        spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = describe


@contextmanager
def _no_interrupts():
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_reader():
    """Prepare a process of our own: no answer to Ctrl-C, and an end when the main process has ended."""
    # Ctrl-C reaches all processes of a terminal; the main one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow():
        # A main process that is killed outright cannot tell its workers, and they would wait for work for ever.
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def start_worker():
    """As `start_reader`, for a process that runs networks."""
    start_reader()
    on_one_core()


def on_one_core():
    """Settings of a process that runs networks on one core, and does nothing else."""
    import torch

    # As many processes as cores, each with one thread, spend no time waiting for each other.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    # Memory that the C library gives back comes page by page with every batch, a twentieth of the time.
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        mallopt(option, _KEPT)
