"""The lock of the output, the progress line and the summary."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from specz_cnn.survey import OutputBusy, SurveySummary
from specz_cnn.survey import lock as lock_module
from specz_cnn.survey.lock import locked
from specz_cnn.survey.progress import Progress
from specz_cnn.survey.summary import failure_kind

HOLD = """
import sys
from specz_cnn.survey.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_run_is_refused_and_told_of_the_first(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        message = f"process {other.pid} on {socket.gethostname()}"
        with pytest.raises(OutputBusy, match=message), locked(tmp_path):
            pass
        other.kill()
        other.wait()
        with locked(tmp_path):  # nothing to clean up after a kill
            pass


@pytest.mark.parametrize(
    ("owner", "busy"),
    [
        (None, False),
        ({"pid": 2**22 + 1, "host": socket.gethostname()}, False),
        ({"pid": os.getppid(), "host": socket.gethostname()}, True),
        ({"pid": 1, "host": "another-machine"}, True),
    ],
)
def test_file_systems_without_locks(tmp_path, monkeypatch, owner, busy):
    monkeypatch.setattr(lock_module, "fcntl", None)
    (tmp_path / ".lock").write_text(json.dumps(owner) if owner else "")
    if busy:
        with pytest.raises(OutputBusy), locked(tmp_path):
            pass
    else:
        with locked(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        assert (tmp_path / ".lock").read_text() == ""


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_rate_and_time_left():
    now = [0.0]
    log = io.StringIO()
    progress = Progress(10_000, 1000, stream=log, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 10.0
        progress.update(100)
    assert progress.line() == "2000 of 10000 spectra (20.0 %), 10/s, 13:20 left"
    assert log.getvalue().count("\n") == 1  # a line a minute
    progress.close()
    assert log.getvalue().count("\n") == 2
    assert "\r" not in log.getvalue()


def test_progress_forgets_slow_hours():
    now = [0.0]
    progress = Progress(10**6, stream=io.StringIO(), clock=lambda: now[0])
    now[0] = 3600.0
    progress.update(1)
    for _ in range(200):
        now[0] += 1.0
        progress.update(50)
    assert progress.rate == pytest.approx(50, rel=0.01)
    assert "5:30:00 left" in progress.line()  # hours


def test_progress_on_a_terminal_is_one_line():
    stream = _Terminal()
    progress = Progress(2, stream=stream, clock=iter(np.arange(100.0)).__next__)
    progress.update(1)
    progress.update(1)
    progress.close()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("/a/spec-1.fits: truncated: 300 bytes needed, 200 there", "truncated: # bytes needed, # there"),
        ("[Errno 2] No such file or directory: '/a/spec-1.fits'", "No such file or directory"),
        ("", "unknown"),
    ],
)
def test_failures_are_counted_by_kind(error, kind):
    assert failure_kind(error, "/a/spec-1.fits") == kind


def test_summary_counts():
    summary = SurveySummary(seconds=2.0)
    columns = {
        "file": np.array(["a", "b", "c", "d"]),
        "flags": np.array([0, 1 << 25, 1 << 28, (1 << 28) | (1 << 25)]),
        "error": np.array(["", "", "a: gone", "d: gone"]),
    }
    summary.add(columns)
    summary.add(columns, earlier=True)
    assert (summary.n_rows, summary.n_earlier, summary.n_clean, summary.n_failed) == (8, 4, 2, 4)
    assert summary.flags == {"NOT_QSO": 4, "READ_ERROR": 4}
    text = str(summary)
    assert text.startswith("8 rows, 4 of them now in 2.0 s, 2/s")
    assert "4 NOT_QSO" in text
    assert "gone" in text
