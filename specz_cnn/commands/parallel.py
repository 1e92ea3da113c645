"""Work on many items in processes of this machine, results in order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

__all__ = ["in_processes"]


def in_processes(function, items, n_workers, *, preload=()):
    """Apply a function to items, in processes if there is more than one.

    Parameters
    ----------
    function : callable
        Of one argument; it and what it takes and returns can be pickled.
    items : iterable
    n_workers : int
        Processes, of one core each; with fewer than two the work is done here.
    preload : sequence of str
        Modules that the processes need, imported once for all of them.

    Yields
    ------
    object
        The result for each item, in order.

    Raises
    ------
    RuntimeError
        If a process dies.
    """
    if n_workers < 2:
        yield from map(function, items)
        return
    from specz_cnn.survey.work import start_worker

    # Not "fork": torch has threads by now, and a forked process inherits their locks.
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    if "forkserver" in kinds:
        context.set_forkserver_preload(["specz_cnn.survey.work", *preload])
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=start_worker)
    pending = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if (
                len(pending) > 3 * n_workers
            ):  # a few ahead, so that memory does not grow with the number of items
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise RuntimeError(f"a process died: is the memory enough for {n_workers} of them?") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
