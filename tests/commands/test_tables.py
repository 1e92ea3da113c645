"""Every command takes tables in every format in which we write them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn.cli import main
from specz_cnn.io.tables import TABLE_SUFFIXES, read_table, write_table
from specz_cnn.report import VERDICT_COLUMNS, read_verdicts
from specz_cnn.results import TABLE_COLUMNS

SUFFIXES = [*(suffix for suffix in TABLE_SUFFIXES if suffix not in (".fit", ".xml")), ".csv.gz", ".fits.gz"]


def page_rows(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fit_writes(suffix, files, tree, networks, tmp_path, capsys):
    """`fit` writes it; `inspect`, `evaluate`, `compare`, `fit --table` and `fit` again read it."""
    path = tmp_path / f"z{suffix}"
    fit = [
        "fit",
        *files[:3],
        "-o",
        str(path),
        "--model",
        networks["model"],
        "--no-cross-check",
        "--no-measure",
    ]
    assert main(fit) == 0
    table = read_table(path)
    # Nothing failed: the column holds nothing, and is text all the same.
    assert table["error"].tolist() == [""] * 3
    for name, dtype, *_ in TABLE_COLUMNS:
        assert table[name].dtype.kind == np.dtype(dtype).kind, name
        assert not np.ma.is_masked(table[name]), name
    assert main(fit) == 0  # replaces it: a table of the same kind

    page = tmp_path / "page.html"
    assert main(["inspect", str(path), "-o", str(page), "--model", "none"]) == 0
    assert page_rows(page)["columns"]["plate"] == [3586] * 3

    labels = table["plate", "mjd", "fiber", "z"]
    labels["cls"] = "QSO"
    write_table(labels, tmp_path / f"labels{suffix}")
    capsys.readouterr()
    assert main(["evaluate", str(path), str(tmp_path / f"labels{suffix}")]) == 0
    assert capsys.readouterr().out.startswith("Redshifts")
    compare = ["compare", "--labels", str(tmp_path / f"labels{suffix}"), "--tables"]
    assert main([*compare, f"ours={path}", f"other={path}:z_pipe"]) == 0
    assert "ours" in capsys.readouterr().out

    again = tmp_path / f"again{suffix}"
    words = ["--table", str(path), "--root", str(tree), "-o", str(again), "--model", networks["model"]]
    assert main(["fit", *words, "--no-cross-check", "--no-measure"]) == 0
    np.testing.assert_array_equal(read_table(again)["z"], table["z"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lists_of_names_and_positions(suffix, sdss, spec_rows, tmp_path, capsys):
    row = spec_rows[10]
    path = tmp_path / f"names{suffix}"
    names = {"plate": [row["plate"]], "mjd": [row["mjd"]], "fiberID": [row["fiberID"]]}
    write_table(Table({**names, "ra": [row["ra"]], "dec": [row["dec"]]}), path)
    for question in (["--positions", str(path), "--radius", "1"], ["--id", str(path)]):
        out = tmp_path / f"found{suffix}"
        assert main(["search", *question, "-o", str(out)]) == 0
        assert read_table(out)["specobjid"].tolist() == [row["specObjID"]]
    urls = tmp_path / "urls.txt"
    assert main(["download", str(tmp_path / f"found{suffix}"), "--url-list", str(urls)]) == 0
    assert len(urls.read_text().splitlines()) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_verdicts(suffix, tmp_path, capsys):
    for name, z_vi in (("ann", 2.4), ("bob", 3.4)):
        text = (
            ",".join(VERDICT_COLUMNS) + f"\nspec.fits,3655,55240,110,2.4,{z_vi},3,3,accept,007,,2026-01-01\n"
        )
        exported = tmp_path / "exported.csv"
        exported.write_text("\ufeff" + text, encoding="utf-8")
        assert main(["inspect", "--merge", str(exported), "-o", str(tmp_path / f"{name}{suffix}")]) == 0
        (row,) = read_verdicts(tmp_path / f"{name}{suffix}")
        assert row["comment"] == "007" and row["z_vi"] == z_vi and row["class_person"] == 3
    both = tmp_path / f"both{suffix}"
    capsys.readouterr()
    merge = [str(tmp_path / f"{name}{suffix}") for name in ("ann", "bob")]
    assert main(["inspect", "--merge", *merge, str(exported), "-o", str(both)]) == 0
    (row,) = read_verdicts(both)
    assert row["verdict"] == "accept" and row["comment"] == "007"  # all are by "exported": the latest counts
    write_table(Table({"plate": [3655], "mjd": [55240], "fiber": [110], "z": [3.4]}), tmp_path / "z.csv")
    assert main(["evaluate", str(tmp_path / "z.csv"), str(both)]) == 0


def test_merging_says_what_it_wants(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    assert main(["inspect", "--merge", str(tmp_path / "a.txt"), "-o", str(tmp_path / "b.csv")]) == 2
    assert "a.txt: unknown kind of table; known are .ecsv" in capsys.readouterr().err
    exported = tmp_path / "c.csv"
    exported.write_text(",".join(VERDICT_COLUMNS) + "\n")
    assert main(["inspect", "--merge", str(exported), "-o", str(tmp_path / "b.html")]) == 2
    assert "b.html: unknown kind of table" in capsys.readouterr().err
