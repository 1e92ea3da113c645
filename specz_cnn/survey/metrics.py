"""What a pipeline sees of a survey: a line of JSON for each block, and one with the metrics at the end."""

from __future__ import annotations

import json
import platform
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

__all__ = ["JsonLog", "json_log"]

_VERSIONS = ("numpy", "astropy", "specutils", "torch", "pyarrow")
_SETTINGS = ("model", "model_sha256", "cross_check", "cross_check_sha256", "package", "device")


class JsonLog:
    """Writes one line for each event of a survey.

    Parameters
    ----------
    stream : text file
    settings : dict
        Of the survey.
    summary : SurveySummary
        The counts, which grow as the survey goes on.
    total : int
        Spectra in the whole survey.
    """

    def __init__(self, stream, settings, summary, total):
        self._stream, self._settings, self._summary, self._total = stream, settings, summary, total
        self._start = self._last = time.monotonic()

    def block(self, number, columns):
        """Some rows have been measured.

        Parameters
        ----------
        number : int
            Of the part that they belong to.
        columns : dict of str to `~numpy.ndarray`
            Of a results table.
        """
        now = time.monotonic()
        flags = np.asarray(columns["flags"])
        self._write(
            "block",
            part=number,
            rows=len(flags),
            failed=int((np.asarray(columns["error"]) != "").sum()),
            unflagged=int((flags == 0).sum()),
            done=self._summary.n_rows,
            of=self._total,
            seconds=round(now - self._last, 3),
        )
        self._last = now

    def end(self, error=None):
        """The survey is over.

        Parameters
        ----------
        error : BaseException, optional
            What ended it before it was complete.
        """
        summary, seconds = self._summary, time.monotonic() - self._start
        measured = summary.n_rows - summary.n_earlier
        self._write(
            "end",
            complete=error is None,
            error="" if error is None else f"{type(error).__name__}: {error}".rstrip(": "),
            rows=summary.n_rows,
            measured=measured,
            seconds=round(seconds, 3),
            rate=round(measured / seconds, 2) if seconds > 0 else None,
            failed=summary.n_failed,
            unflagged=summary.n_clean,
            flags=dict(summary.flags),
            failures=dict(summary.failures.most_common(20)),
            **{name: self._settings.get(name) for name in _SETTINGS},
            versions={"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        )

    def _write(self, event, **values):
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._stream.write(json.dumps({"event": event, "time": stamp, **values}) + "\n")
        self._stream.flush()  # whoever follows the file sees whole lines, soon


@contextmanager
def json_log(path, settings, summary, total):
    """A `JsonLog` that appends to a file, and writes the metrics however the survey ends.

    Parameters
    ----------
    path : path-like or None
        None gives None.
    settings, summary, total
        As for `JsonLog`.
    """
    if path is None:
        yield None
        return
    with open(path, "a", encoding="utf-8") as stream:
        log = JsonLog(stream, settings, summary, total)
        try:
            yield log
        except BaseException as error:
            log.end(error)
            raise
        log.end()
