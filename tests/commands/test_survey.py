"""``specz-cnn fit -o DIRECTORY/``."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn.cli import main
from specz_cnn.survey import read_survey


@pytest.fixture
def fit(networks, tmp_path):
    """Run the command in this process, with output to ``tmp_path / "out"``."""
    options = ["-o", f"{tmp_path}/out/", "--model", networks["model"], "--no-cross-check", "--workers", "0"]

    def run(*arguments):
        return main(["fit", *map(str, arguments), *options])

    return run


def test_tree_in_parts_and_resume(fit, tree, tmp_path, capsys):
    assert fit(tree, "--part-rows", 10) == 3  # one of the files is damaged
    message = capsys.readouterr().err
    assert "100%" in message and "23/23" in message and "spectra/s" in message
    assert "1 READ_ERROR" in message
    assert fit(tree, "--part-rows", 10) == 1
    assert "holds a survey already" in capsys.readouterr().err
    (tmp_path / "out" / "part-000001.parquet").unlink()
    assert fit("--resume", "--part-rows", 10) == 3
    assert "23 rows, 10 of them now" in capsys.readouterr().err
    assert len(read_survey(tmp_path / "out")) == 23


def test_lists_and_tables(fit, tree, files, tmp_path, monkeypatch):
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{path}\n" for path in files[:3]))
    assert fit("--list", listing, "--part-format", "fits") == 0
    assert list(read_survey(tmp_path / "out")["file"]) == files[:3]
    table = tmp_path / "ids.fits"
    Table({"PLATE": np.int32([3588]), "MJD": np.int32([55181]), "FIBERID": np.int32([3])}).write(table)
    (tmp_path / "out").rename(tmp_path / "first")
    assert fit("--table", table, "--root", tree) == 0
    assert list(read_survey(tmp_path / "out")["file"]) == files[16:17]
    (tmp_path / "out").rename(tmp_path / "second")
    monkeypatch.setattr("sys.stdin", io.StringIO(listing.read_text()))
    assert fit("-") == 0
    assert len(read_survey(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--list", "y"], "not several"),
        (["x", "-"], "not several"),
        (["--table", "t.fits"], "go together"),
        ([], "nothing to fit"),
        (["x", "--example"], "not a directory of parts"),
    ],
)
def test_usage(fit, capsys, arguments, message):
    assert fit(*arguments) == 2
    assert message in capsys.readouterr().err


def test_resume_needs_a_directory(capsys):
    assert main(["fit", "--resume", "-o", "z.fits"]) == 2
    assert "need -o DIRECTORY/" in capsys.readouterr().err


def test_interrupt(fit, files, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("specz_cnn.survey.fit_survey", interrupt)
    assert fit(*files) == 130
    assert "--resume continues" in capsys.readouterr().err


def test_no_dask(fit, files, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    assert fit(*files, "--scheduler", "tcp://127.0.0.1:1") == 1
    assert "specz-cnn[dask]" in capsys.readouterr().err


def test_lines_of_json(fit, tree, tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    assert fit(tree, "--log-json", log) == 3
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["rows"] == 23 and lines[-1]["failed"] == 1
    assert main(["fit", str(tree), "-o", str(tmp_path / "z.ecsv"), "--log-json", str(log)]) == 2
    assert "need -o DIRECTORY/" in capsys.readouterr().err
