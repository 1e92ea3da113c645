"""Networks in processes that were forked from one that has computed."""

from __future__ import annotations

import os
from contextlib import contextmanager

import torch

__all__ = ["one_thread_in_forks"]

_forked = False


def _note_fork():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextmanager
def one_thread_in_forks():
    """Compute with one thread in a forked process, and leave the number of threads as it was.

    A child forked from a process that has used several threads waits forever where OpenMP (GNU's, which torch comes with)
    would start its own.  What else runs in the child is none of our business.
    """
    if not _forked:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
