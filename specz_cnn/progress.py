"""How far a long job is, how fast, and how long it will take: on a terminal one line, in a log a line a minute."""

from __future__ import annotations

import sys

from tqdm import tqdm

__all__ = ["progress_bar"]

_LOG = 60.0  # seconds between lines of a log


class _Lines(tqdm):
    """A bar for what is no terminal: lines, none of which is written over."""

    def display(self, msg=None, pos=None):
        """Write the state as a line."""
        self.fp.write(f"{msg or self}\n")
        self.fp.flush()

    def close(self):
        """Write the last state."""
        if not self.disable:
            self.disable = True  # tqdm would move the cursor
            self._decr_instances(self)
            self.display()


def progress_bar(total, *, show=None, done=0, unit="spectra", stream=None):
    """Progress on standard error, as a `tqdm.tqdm`: ``update(n)``, and to be used with ``with``.

    Parameters
    ----------
    total : int or None
        None where it is not known.
    show : bool, optional
        By default on a terminal only; if true, also where there is none, as a line a minute.
    done : int, optional
        What an earlier run has done.
    unit : str, optional
        What is counted.
    stream : text file, optional
        Another one than standard error.

    Returns
    -------
    `tqdm.tqdm`
    """
    stream = sys.stderr if stream is None else stream
    terminal = _is_terminal(stream)
    options = {"total": total, "initial": done, "unit": unit, "file": stream}
    if terminal or not show or stream is None:
        disable = stream is None or (not terminal if show is None else not show)
        return tqdm(disable=disable, **options)
    return _Lines(mininterval=_LOG, maxinterval=_LOG, delay=_LOG, ascii=True, ncols=100, **options)


def _is_terminal(stream):
    """Whether a stream is a terminal; there may be none, or one that cannot be asked (a logger)."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
