"""One run at a time may write to an output directory."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["OutputBusy", "locked"]


class OutputBusy(OSError):
    """Another run is writing to the output."""


@contextmanager
def locked(directory):
    """Hold the lock of a directory.

    The lock belongs to an open file and vanishes with the process, however that ends; nothing is left to clean up after
    a kill.  What the file says is for people, and for file systems without locks.  (Not the library filelock: it removes
    the file that it has locked, knows no owner to name to whom is refused, and where a file system cannot lock, a lock
    that a killed run has left refuses all that follow.)

    Parameters
    ----------
    directory : path-like

    Raises
    ------
    OutputBusy
        If another process holds it; the message says which, on which machine.
    """
    path = Path(directory) / ".lock"
    with open(path, "a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            raise OutputBusy(f"{directory}: another run is writing to it ({_owner(file.read())})")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _lock(file):
    """Whether the lock could be had."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system that cannot lock, as some of clusters are
    file.seek(0)
    return not _is_alive(file.read())


def _parse(text):
    try:
        owner = json.loads(text)
        return int(owner["pid"]), str(owner["host"])
    except (ValueError, TypeError, KeyError):
        return None


def _owner(text):
    owner = _parse(text)
    return f"process {owner[0]} on {owner[1]}" if owner else "process unknown"


def _is_alive(text):
    """Whether the owner named in a lock file may still run; of one on another machine, nobody here can tell."""
    owner = _parse(text)
    if owner is None:
        return False
    pid, host = owner
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
