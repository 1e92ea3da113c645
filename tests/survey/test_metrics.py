"""The lines of JSON that a pipeline reads."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from specz_cnn.survey import SurveyError, fit_survey


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_each_block_and_the_metrics(files, networks, tmp_path):
    log = tmp_path / "log.jsonl"
    options = {**networks, "batch_size": 2, "rows_per_part": 10, "n_workers": 0, "log": log}
    summary = fit_survey(files, tmp_path / "out", **options)
    *blocks, end = read(log)
    assert {line["event"] for line in blocks} == {"block"}
    assert sum(line["rows"] for line in blocks) == end["rows"] == 23
    assert [line["done"] for line in blocks][-1] == blocks[0]["of"] == 23
    assert [line["part"] for line in blocks] == sorted(line["part"] for line in blocks)
    assert sum(line["failed"] for line in blocks) == end["failed"] == 1
    assert end["event"] == "end" and end["complete"] and end["error"] == ""
    assert end["flags"] == dict(summary.flags) and end["failures"] == dict(summary.failures)
    assert end["unflagged"] == summary.n_clean == sum(line["unflagged"] for line in blocks)
    assert end["model"] == "small-1" and len(end["model_sha256"]) == 64
    assert end["rate"] > 0 and "torch" in end["versions"]
    times = [datetime.fromisoformat(line["time"]) for line in [*blocks, end]]
    assert times == sorted(times)


def test_a_resumed_run_adds_to_the_file(files, networks, tmp_path):
    log = tmp_path / "log.jsonl"
    options = {**networks, "batch_size": 2, "rows_per_part": 10, "n_workers": 0, "log": log}
    fit_survey(files, tmp_path / "out", **options)
    n_lines = len(read(log))
    (tmp_path / "out" / "part-000001.parquet").unlink()
    fit_survey(None, tmp_path / "out", resume=True, **options)
    lines = read(log)[n_lines:]
    assert {line["part"] for line in lines[:-1]} == {1}
    assert lines[-1]["measured"] == 10 and lines[-1]["rows"] == 23


def test_what_ends_a_survey_is_said(files, networks, tmp_path, monkeypatch):
    from specz_cnn.survey import run

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "_write_part", full)
    log = tmp_path / "log.jsonl"
    with pytest.raises(SurveyError):
        fit_survey(files, tmp_path / "out", n_workers=0, log=log, **networks)
    end = read(log)[-1]
    assert not end["complete"] and "No space left" in end["error"]
