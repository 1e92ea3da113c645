"""Surveys run in this process: rows, parts, continuing, refusals."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from specz_cnn import RedshiftFlag
from specz_cnn.results import TABLE_COLUMNS
from specz_cnn.survey import OutputBusy, SurveyError, fit_survey, read_survey
from specz_cnn.survey import run as run_module
from specz_cnn.survey.lock import locked
from specz_cnn.survey.work import Job, fit_block


@pytest.fixture
def small(networks):
    """Options of a survey of a few parts in this process."""
    return {**networks, "batch_size": 4, "rows_per_part": 10, "n_workers": 0}


def _bytes(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.name != ".lock"}


@pytest.mark.parametrize("format", ["parquet", "fits"])
def test_rows_are_those_of_fit_redshifts(tmp_path, tree, files, networks, small, format):
    from specz_cnn import fit_redshifts_cnn

    missing = str(tree / "spec-9999-55181-0001.fits")
    summary = fit_survey([tree, missing], tmp_path / "out", format=format, **small)
    assert sorted(p.suffix for p in (tmp_path / "out").glob("part-*")) == [f".{format}"] * 3
    assert (summary.n_rows, summary.n_failed) == (24, 2)
    assert summary.flags["READ_ERROR"] == 2
    assert summary.failures["No such file or directory"] == 1

    table = read_survey(tmp_path / "out")
    assert table.colnames == [name for name, *_ in TABLE_COLUMNS]
    assert list(table["file"]) == [*files, missing]
    expected = fit_redshifts_cnn([*files, missing], **networks)
    for name in expected.colnames:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(table[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(table[name], expected[name], err_msg=name)
    assert table["ra"].unit == expected["ra"].unit
    assert table.meta["model_sha256"] == expected.meta["model_sha256"]
    bad = (table["flags"] & RedshiftFlag.READ_ERROR) != 0
    assert np.isnan(table["z"][bad]).all()
    assert np.isfinite(table["z"][~bad]).all()


def test_columns_on_request(tmp_path, files, small):
    fit_survey(files, tmp_path, **small)
    table = read_survey(tmp_path, columns=["z", "file"])
    assert set(table.colnames) == {"file", "z"}
    assert len(table) == len(files)
    with pytest.raises(ValueError, match="no columns redshift"):
        read_survey(tmp_path, columns=["redshift"])


def test_output_is_a_parquet_dataset(tmp_path, files, small):
    import pyarrow.parquet

    fit_survey(files, tmp_path, **small)
    assert pyarrow.parquet.read_table(tmp_path).num_rows == len(files)


def test_resume_does_what_is_missing_and_nothing_else(tmp_path, files, small):
    fit_survey(iter(files), tmp_path, **small)
    before = _bytes(tmp_path)
    (tmp_path / "part-000001.parquet").unlink()
    (tmp_path / "part-000002.parquet").write_bytes(before["part-000002.parquet"][:100])  # the disk failed
    (tmp_path / ".part-1-part-000001.parquet").write_bytes(b"half")  # the run was killed while it wrote
    kept = (tmp_path / "part-000000.parquet").stat().st_mtime_ns
    summary = fit_survey(None, tmp_path, resume=True, **small)
    assert _bytes(tmp_path) == before
    assert (tmp_path / "part-000000.parquet").stat().st_mtime_ns == kept
    assert (summary.n_rows, summary.n_earlier) == (23, 10)
    assert summary.n_failed == 1
    # Once more, with nothing left to do, and with the spectra named again.
    summary = fit_survey(files, tmp_path, resume=True, **small)
    assert (summary.n_rows, summary.n_earlier) == (23, 23)


def test_resume_begins_where_there_is_nothing(tmp_path, files, small):
    assert fit_survey(files[:3], tmp_path / "new", resume=True, **small).n_rows == 3


def test_files_added_later_do_not_disturb_a_resumed_run(tmp_path, files, small):
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in (1, 3):
        (tree / f"spec-3586-55181-{number:04d}.fits").symlink_to(files[number])
    fit_survey(tree, tmp_path / "out", **small)
    before = _bytes(tmp_path / "out")
    (tree / "spec-3586-55181-0002.fits").symlink_to(files[2])
    (tmp_path / "out" / "part-000000.parquet").unlink()
    with pytest.raises(SurveyError, match=r"another list of spectra \(2, now 3\)"):
        fit_survey(tree, tmp_path / "out", resume=True, **small)
    fit_survey(None, tmp_path / "out", resume=True, **small)
    assert _bytes(tmp_path / "out") == before


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 5}, {"rows_per_part": 11}, {"mask": "ivar"}, {"format": "fits"}, {"cross_check": None}],
)
def test_resume_with_other_settings_is_refused(tmp_path, files, small, change):
    fit_survey(files[:2], tmp_path, **small)
    before = _bytes(tmp_path)
    name = next(iter(change))
    with pytest.raises(SurveyError, match=f"other settings: {name} was"):
        fit_survey(files[:2], tmp_path, resume=True, **{**small, **change})
    assert _bytes(tmp_path) == before


def test_other_refusals(tmp_path, files, small):
    output = tmp_path / "out"
    with pytest.raises(SurveyError, match="no survey to resume"):
        fit_survey(None, output, resume=True, **small)
    with pytest.raises(SurveyError, match="no spectra are given"):
        fit_survey([], output, **small)
    with pytest.raises(ValueError, match="format must be one of parquet, fits"):
        fit_survey(files, output, format="csv", **small)
    with pytest.raises(ValueError, match="must be positive"):
        fit_survey(files, output, **{**small, "batch_size": 0})
    fit_survey(files[:2], output, **small)
    with pytest.raises(SurveyError, match="holds a survey already"):
        fit_survey(files[:2], output, **small)
    with locked(output), pytest.raises(OutputBusy):
        fit_survey(None, output, resume=True, **small)
    (output / "_inputs.txt").write_text("/elsewhere\n")
    with pytest.raises(SurveyError, match="was changed"):
        fit_survey(None, output, resume=True, **small)
    (output / "_survey.json").write_text("{")
    with pytest.raises(SurveyError, match="damaged"):
        fit_survey(None, output, resume=True, **small)
    (output / "_survey.json").unlink()
    with pytest.raises(SurveyError, match="parts of something else"):
        fit_survey(files, output, **small)
    with pytest.raises(SurveyError, match="holds no survey"):
        read_survey(output)


def test_a_file_in_the_way_of_the_output(tmp_path, files, small):
    (tmp_path / "out").touch()
    with pytest.raises(FileExistsError):
        fit_survey(files, tmp_path / "out", **small)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_output_that_fails_in_the_middle(tmp_path, files, small, monkeypatch, number, reason):
    """Rows before: the finished parts; afterwards, when it can be written again, all, byte for byte."""
    import specz_cnn.results.tables

    fit_survey(files, tmp_path / "expected", **small)
    write = specz_cnn.results.tables.write_table

    def full(table, path):
        if path.name == "part-000001.parquet":
            raise OSError(number, reason)
        write(table, path)

    monkeypatch.setattr(specz_cnn.results.tables, "write_table", full)
    with pytest.raises(SurveyError, match=rf"part-000001.parquet: {reason}. .*are kept"):
        fit_survey(files, tmp_path / "out", **small)
    monkeypatch.undo()
    assert len(read_survey(tmp_path / "out")) == 10
    fit_survey(None, tmp_path / "out", resume=True, **small)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "expected")


def test_output_that_cannot_be_made(tmp_path, files, small):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        fit_survey(files, tmp_path / "file" / "out", **small)


def test_workers_refuse_other_weights_and_versions(files, networks):
    from specz_cnn import __version__

    with pytest.raises(RuntimeError, match="other weights"):
        fit_block(files[:1], Job(networks["model"], None, ("0" * 64, ""), __version__, "cpu"))
    with pytest.raises(RuntimeError, match=f"has specz-cnn {__version__}, the survey is run by 0.0"):
        fit_block(files[:1], Job(networks["model"], None, ("0" * 64, ""), "0.0", "cpu"))


def test_settings_are_recorded(tmp_path, files, small):
    fit_survey(files[:2], tmp_path, **small)
    manifest = json.loads((tmp_path / "_survey.json").read_text())
    assert manifest["n_spectra"] == 2
    assert manifest["settings"]["model"] == "small-1"
    assert manifest["settings"]["device"] == "cpu"


def test_blocks_come_from_a_stream(tmp_path, files, small, monkeypatch):
    """The list of a million paths is never in memory: at most a block of it."""
    seen = []

    def watch(blocks, job):
        for block in blocks:
            seen.append((block.part, len(block.paths), block.last))
            yield block, fit_block(block.paths, job)

    monkeypatch.setattr(run_module, "serial_results", watch)
    fit_survey((path for path in files), tmp_path, **small)
    assert seen == [(0, 8, False), (0, 2, True), (1, 8, False), (1, 2, True), (2, 3, True)]
