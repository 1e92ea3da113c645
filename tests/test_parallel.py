"""The one pool of processes: scripts without a guard, processes that die, what cannot be started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import specz_cnn
from specz_cnn import parallel
from specz_cnn.parallel import Ready, WorkersDied, in_processes, number_of_workers

SCRIPT = """
import os, sys
import specz_cnn
from specz_cnn.survey import fit_files
print("once")
path, how = sys.argv[1:]
if how == "list":
    table = specz_cnn.fit_redshifts_cnn([path] * 3, n_workers=2)
else:
    table = fit_files([path] * 3, n_workers=2, batch_size=1)
print(len(table), set(table["error"]))
"""


@pytest.mark.parametrize(("source", "how"), [("file", "list"), ("standard input", "survey")])
def test_a_script_without_a_guard(tmp_path, source, how):
    """It runs once, its workers work, and nothing is written on standard error."""
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    arguments = [specz_cnn.example_path(), how]
    command = [sys.executable, str(script) if source == "file" else "-", *arguments]
    with open(script) as stream:
        done = subprocess.run(
            command, check=False, stdin=stream, capture_output=True, text=True, timeout=300, cwd=tmp_path
        )
    assert done.stderr == ""
    assert done.stdout == "once\n3 {np.str_('')}\n"


def test_results_come_in_order_and_from_other_processes():
    items = [Ready("first"), *range(-20, 0), Ready("last")]
    found = list(in_processes(abs, items, 2))
    assert [item for item, _ in found] == items
    assert [result for _, result in found] == ["first", *range(20, 0, -1), "last"]
    assert found == list(in_processes(abs, items, 0))
    # A function of a test module is nothing that other processes could import.
    ((_, pid),) = in_processes(eval, ["__import__('os').getpid()"], 1)
    assert pid != os.getpid()


def test_an_exception_of_the_work_is_that_of_the_caller():
    with pytest.raises(OverflowError):
        list(in_processes(chr, [65, 1 << 40], 1))


def test_processes_that_always_die():
    with pytest.raises(WorkersDied, match="died 4 times in a row"):
        list(in_processes(os._exit, [1], 1))


def test_where_no_process_can_be_started(monkeypatch):
    class Refusing:
        def __init__(self, *args):
            pass

        def submit(self, *args):
            raise BlockingIOError(11, "Resource temporarily unavailable")

        def shutdown(self, **how):
            pass

    monkeypatch.setattr(parallel, "_pool", Refusing)
    with pytest.warns(RuntimeWarning, match="no worker process can be started .*; working in this process"):
        found = list(in_processes(abs, [-1, -2], 2))
    assert [result for _, result in found] == [1, 2]


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_numbers_of_workers(wrong, tmp_path):
    assert number_of_workers(None) == parallel.available_cores() and number_of_workers(0) == 0
    with pytest.raises(ValueError, match="n_workers must be None"):
        number_of_workers(wrong)
    from specz_cnn.survey import fit_files, fit_survey

    paths = [specz_cnn.example_path()]
    for fit in (
        lambda: specz_cnn.fit_redshifts_cnn(paths, n_workers=wrong),
        lambda: fit_files(paths, n_workers=wrong),
        lambda: fit_survey(paths, tmp_path / "out", n_workers=wrong),
    ):
        with pytest.raises(ValueError, match="n_workers must be None"):
            fit()
    assert not (tmp_path / "out").exists()
