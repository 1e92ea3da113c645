"""Networks that are loaded once in a process, ready for inference."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from specz_cnn.models.registry import load_model, resolve_model

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

    from specz_cnn.typing import Device, ModelName


__all__ = ["cached_model"]


_cache: dict[tuple[Any, ...], nn.Module] = {}
_cache_lock = threading.Lock()


def _unlock_in_child():
    """A lock held by another thread during a fork stays held in the child, for ever."""
    global _cache_lock
    _cache_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


def cached_model(name_or_path: ModelName, device: Device = "cpu", *, opinion: bool = False) -> nn.Module:
    """As `load_model`, prepared for inference, and every caller in the process shares one: do not change it.

    An ``opinion`` is what `~specz_cnn.models.inference.prepare_for_inference` says.  A file that was written anew since is loaded again.  Threads may call this, and use the result, at the same time.
    """
    from specz_cnn.models.forks import one_thread_in_forks
    from specz_cnn.models.inference import prepare_for_inference

    path, _ = resolve_model(name_or_path)
    stat = path.stat()
    key = str(name_or_path), str(device), opinion, str(path), stat.st_mtime_ns, stat.st_size
    with _cache_lock, one_thread_in_forks():
        if key not in _cache:
            for old in [k for k in _cache if k[:3] == key[:3]]:
                del _cache[old]
            _cache[key] = prepare_for_inference(load_model(name_or_path, device=device), opinion=opinion)
        return _cache[key]
