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

from specz_cnn.progress import progress_bar
from specz_cnn.survey import OutputBusy, SurveySummary
from specz_cnn.survey import lock as lock_module
from specz_cnn.survey.lock import locked
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


def test_progress_in_a_log_is_a_line_a_minute():
    now = [1000.0]
    log = io.StringIO()
    with progress_bar(10_000, show=True, done=1000, stream=log) as bar:
        bar._time = lambda: now[0]
        bar.start_t = bar.last_print_t = now[0]
        for _ in range(100):
            now[0] += 2.0
            bar.update(20)
    lines = log.getvalue().splitlines()
    assert len(lines) == 4 and "\r" not in log.getvalue()  # after 60, 120, 180 seconds and at the end
    assert "3000/10000" in lines[-1] and "10.0" in lines[-1] and "spectra/s" in lines[-1]
    assert "11:4" in lines[-1]  # minutes left


def test_progress_on_a_terminal_is_one_line():
    stream = _Terminal()
    with progress_bar(2, stream=stream) as bar:
        bar.update(1)
        bar.update(1)
    assert stream.getvalue().count("\n") == 1 and "\r" in stream.getvalue()
    assert "2/2" in stream.getvalue()


@pytest.mark.parametrize(
    ("show", "terminal", "shown"), [(None, 0, 0), (None, 1, 1), (False, 1, 0), (True, 0, 1)]
)
def test_who_sees_progress(show, terminal, shown):
    stream = _Terminal() if terminal else io.StringIO()
    with progress_bar(3, show=show, stream=stream) as bar:
        bar.update(3)
    assert bool(stream.getvalue()) == bool(shown)


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
