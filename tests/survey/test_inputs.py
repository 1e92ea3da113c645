"""Streams of paths."""

from __future__ import annotations

import io
import os

import pytest
from astropy.table import Table

from specz_cnn.survey import iter_paths, read_list, table_paths
from specz_cnn.survey.inputs import read_paths, write_paths


def test_tree_is_walked_in_order(tree, files):
    assert list(iter_paths(tree)) == files
    assert list(iter_paths([tree / "3587", str(tree / "3586")])) == [
        *(path for path in files if "/3587/" in path),
        *(path for path in files if "/3586/" in path),
    ]


def test_walk_is_lazy(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "spec-1.fits").touch()
    (tmp_path / "b").mkdir()
    paths = iter_paths(tmp_path)
    assert next(paths).endswith("spec-1.fits")
    (tmp_path / "b" / "spec-2.fits").touch()
    assert next(paths).endswith("spec-2.fits")


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "spec-1.fits").touch()
    (tmp_path / "plate" / "up").symlink_to(tmp_path)
    (tmp_path / "same").symlink_to(tmp_path / "plate")
    names = [os.path.relpath(path, tmp_path) for path in iter_paths(tmp_path)]
    assert names == ["plate/spec-1.fits", "same/spec-1.fits"]


def test_patterns_and_files(tree, files, tmp_path, monkeypatch):
    assert list(iter_paths(str(tree / "*" / "spec-*-0001.fits"))) == files[:1]
    missing = tmp_path / "spec-0001-50000-0001.fits"
    assert list(iter_paths(missing)) == [str(missing)]  # becomes a row that says so
    odd = tmp_path / "spec[1].fits"
    odd.touch()
    assert list(iter_paths(odd)) == [str(odd)]
    monkeypatch.chdir(tree)
    assert list(iter_paths("3586")) == [path for path in files if "/3586/" in path]


def test_compressed_files_count_and_unfinished_downloads_do_not(tmp_path):
    for name in ("spec-1.fits.gz", "spec-2.fits.part", "photo.fits"):
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in iter_paths(tmp_path)] == ["spec-1.fits.gz"]


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no spectrum files"):
        list(iter_paths(tmp_path))
    with pytest.raises(FileNotFoundError, match="no files match"):
        list(iter_paths(tmp_path / "*.fits"))


def test_list_files(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# header\na b.fits\r\n\n/c.fits\n")
    assert list(read_list(path)) == ["a b.fits", "/c.fits"]
    assert list(read_list(io.StringIO("x\n  # indented\ny"))) == ["x", "y"]


def test_names_that_are_not_unicode_survive(tmp_path):
    name = os.fsdecode(b"/data/\xff\xfe.fits")
    given = tmp_path / "given.txt"
    given.write_bytes(os.fsencode(name) + b"\n")
    n, sha256 = write_paths(read_list(given), tmp_path / "list")
    assert (n, len(sha256)) == (1, 64)
    assert list(read_paths(tmp_path / "list")) == [name]


def test_line_breaks_in_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="line break"):
        write_paths(["a\nb"], tmp_path / "list")


@pytest.mark.parametrize("columns", [("PLATE", "MJD", "FIBERID"), ("plate", "mjd", "fiber")])
def test_table_of_observations(tree, files, columns):
    rows = [(3588, 55181, 3), (3586, 55181, 1), (3586, 55181, 600)]
    table = Table(rows=rows, names=columns)
    found = list(table_paths(table, tree))
    assert found[:2] == [files[16], files[0]]
    assert found[2] == str(tree / "3586" / "spec-3586-55181-0600.fits")


def test_table_with_run2d_and_layouts(tmp_path):
    table = Table(
        {"plate": [266, 3586], "mjd": [51602, 55181], "fiberid": [13, 76], "run2d": ["26 ", "v5_13_0"]}
    )
    names = ["spec-0266-51602-0013.fits", "spec-3586-55181-0076.fits"]
    expected = [
        tmp_path / "26" / "spectra" / "lite" / "0266" / names[0],
        tmp_path / "v5_13_0" / "spectra" / "lite" / "3586" / names[1],
    ]
    assert list(table_paths(table, tmp_path)) == [str(path) for path in expected]
    assert list(table_paths(table, tmp_path, layout="{mjd}-{fiber:04d}")) == [
        str(tmp_path / "51602-0013"),
        str(tmp_path / "55181-0076"),
    ]
    with pytest.raises(ValueError, match="no column mjd, fiberid"):
        list(table_paths(table[["plate"]], tmp_path))
