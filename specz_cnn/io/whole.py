"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["remove_unfinished", "write_whole"]

# Hidden, so that programs that list the directory do not pick up unfinished files.
_PREFIX = ".part-"
# Names may have 255 bytes, and a character up to four.
_LONGEST = 48
# Errors of file systems that do not support fsync.
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def write_whole(path):
    """Write a file under another name beside it, and give it its own once it is complete.

    Whatever happens inside the ``with`` block, a full disk or a kill included, the file is afterwards what it was
    before, or whole.  It is on the disk before it gets its name (about a millisecond a file): a power failure must not
    leave the new name on an empty file.  A link is followed: the file that it leads to is replaced.  A file that is
    there keeps its permissions, and one that may not be written is not.  A pipe or device is not replaced, but given the
    content.

    Parameters
    ----------
    path : path-like
        In a directory that exists.

    Yields
    ------
    `~pathlib.Path`
        Where to write.  It ends as ``path`` does: formats and compressions go by that.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    else:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}-{path.name[-_LONGEST:]}"
    if mode is not None and not stat.S_ISREG(mode):
        with tempfile.TemporaryDirectory() as directory:
            part = Path(directory) / name
            yield part
            with open(part, "rb") as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
        return
    path = Path(os.path.realpath(path))
    part = path.with_name(name)
    try:
        yield part
        with open(part, "rb+") as file:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in _NO_SYNC:
                    raise
        if mode is not None:
            os.chmod(part, stat.S_IMODE(mode))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_unfinished(directory, *, older_than=0.0):
    """Remove what a killed run has left of `write_whole`.

    Parameters
    ----------
    directory : path-like
        It need not exist.
    older_than : float, optional
        Seconds; what is younger may belong to a run that goes on.
    """
    oldest = time.time() - older_than
    with suppress(OSError):  # not there, or another run is faster
        with os.scandir(directory) as entries:
            stale = [e.path for e in entries if e.name.startswith(_PREFIX) and e.stat().st_mtime <= oldest]
        for path in stale:
            os.unlink(path)
