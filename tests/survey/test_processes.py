"""Surveys in processes that are killed, interrupted and lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from specz_cnn import parallel
from specz_cnn.survey import SurveyError, fit_survey, read_survey

N_PARTS = 15
PATIENCE = 240  # seconds; shared machines are slow at times

RUN = """
import json, sys
from specz_cnn.survey import fit_survey
given = json.loads(sys.argv[1])
if __name__ == "__main__":
    fit_survey(given["inputs"], given["output"], n_workers=2, **given["options"])
"""


def _start(inputs, output, options):
    given = json.dumps({"inputs": inputs, "output": str(output), "options": options})
    return subprocess.Popen(
        [sys.executable, "-c", RUN, given], stderr=subprocess.PIPE, start_new_session=True
    )


def _wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.005)


def _n_parts(output):
    return len(list(output.glob("part-*")))


def _children(pid):
    """Processes of the session that a run leads."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != pid:
            try:
                if os.getsid(int(entry)) == pid:
                    found.append(int(entry))
            except ProcessLookupError:
                pass
    return found


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


@needs_proc
def test_kill_and_resume_give_the_same_bytes(tmp_path, inputs, options, undisturbed, same_output):
    output = tmp_path / "out"
    with _start(inputs, output, options) as process:
        _wait_for(lambda: _n_parts(output) >= 2, "two parts")
        children = _children(process.pid)
        process.kill()
        process.wait()
    assert 2 <= _n_parts(output) < N_PARTS
    assert len(children) >= 2
    # Workers do not outlive the run that they belong to.
    _wait_for(lambda: not any(map(_is_running, children)), "the end of the workers")
    summary = fit_survey(inputs, output, resume=True, n_workers=0, **options)
    assert summary.n_rows == len(inputs)
    assert 200 <= summary.n_earlier < len(inputs)
    same_output(output, undisturbed)


def test_interrupt_leaves_whole_parts(tmp_path, inputs, options, undisturbed, same_output):
    output = tmp_path / "out"
    with _start(inputs, output, options) as process:
        _wait_for(lambda: _n_parts(output) >= 2, "two parts")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert messages.count(b"Traceback") == 1  # of the main process alone: workers write nothing
    assert 2 <= _n_parts(output) < N_PARTS
    assert len(read_survey(output)) == 100 * _n_parts(output)
    fit_survey(None, output, resume=True, n_workers=0, **options)
    same_output(output, undisturbed)


def _kill_a_worker(monkeypatch, how_often):
    """Make the pool lose a process after its first results, ``how_often`` times."""
    kills = []
    make = parallel._pool

    def pool(*given):
        made = make(*given)
        submit = made.submit

        def submit_and_kill(*args):
            future = submit(*args)
            if len(kills) < how_often:
                kills.append(1)
                future.add_done_callback(
                    lambda _: [os.kill(pid, signal.SIGKILL) for pid in list(made._processes)[:1]]
                )
            return future

        made.submit = submit_and_kill
        return made

    monkeypatch.setattr(parallel, "_pool", pool)
    return kills


def test_lost_worker_is_replaced(tmp_path, inputs, options, undisturbed, same_output, monkeypatch):
    kills = _kill_a_worker(monkeypatch, 1)
    fit_survey(inputs, tmp_path, n_workers=2, **options)
    assert kills
    same_output(tmp_path, undisturbed)


def test_workers_that_always_die_end_the_run(tmp_path, files, options, monkeypatch):
    monkeypatch.setattr(parallel, "start_worker", os.abort)
    with pytest.raises(SurveyError, match="died 4 times in a row"):
        fit_survey(files, tmp_path, n_workers=1, **options)
