"""How far a long job is, how fast, and how long it will take: on a terminal one line, in a log a line a minute."""

from __future__ import annotations

import sys
import time
from collections import deque

__all__ = ["Progress"]

_TERMINAL, _LOG = 0.5, 60.0  # seconds between messages
_MEMORY = 120.0  # seconds over which the rate is taken


def _duration(seconds):
    """Hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Report progress on a stream.

    Parameters
    ----------
    total : int
        Spectra in the whole job.
    done : int
        Spectra done by an earlier run.
    stream : text file, optional
        Standard error if not given.
    clock : callable, optional
        Seconds, steadily growing.
    """

    def __init__(self, total, done=0, *, stream=None, clock=time.monotonic):
        self.total, self.done, self.clock = total, done, clock
        self.stream = sys.stderr if stream is None else stream
        self.terminal = self.stream.isatty()
        self.history = deque([(clock(), done)])
        self.last = clock() - (_TERMINAL if self.terminal else 0.0)

    @property
    def rate(self):
        """Spectra per second, lately; 0 before there is anything to tell."""
        (then, before), now = self.history[0], self.clock()
        return (self.done - before) / (now - then) if now > then else 0.0

    def update(self, n):
        """Count ``n`` more spectra, and report if it is time to."""
        self.done += n
        now = self.clock()
        self.history.append((now, self.done))
        while len(self.history) > 2 and now - self.history[1][0] > _MEMORY:
            self.history.popleft()
        if now - self.last >= (_TERMINAL if self.terminal else _LOG):
            self.last = now
            self._show(self.line())

    def line(self):
        """The message."""
        text = f"{self.done} of {self.total} spectra ({100 * self.done / max(self.total, 1):.1f} %)"
        rate = self.rate
        if rate > 0:
            left = _duration((self.total - self.done) / rate)
            text += f", {rate:.0f}/s, {left} left"
        return text

    def _show(self, text):
        self.stream.write(f"\r{text}\033[K" if self.terminal else f"{text}\n")
        self.stream.flush()

    def close(self):
        """Leave the last state on a line of its own."""
        self._show(self.line())
        if self.terminal:
            self.stream.write("\n")
