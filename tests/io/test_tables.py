"""Tables in and out: whatever the format, what was written is read, with its types."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from specz_cnn.io.tables import (
    count_rows,
    is_table,
    open_table,
    parse_table,
    read_table,
    table_format,
    write_table,
)
from specz_cnn.results import TABLE_COLUMNS, make_table

SUFFIXES = (".ecsv", ".csv", ".fits", ".parquet", ".vot", ".json", ".jsonl")
BODY = "plate,mjd,fiberid,z,ra\n266,51602,13,0.3,146.9\n"


@pytest.mark.parametrize(
    "data",
    [
        BODY.encode(),
        ("#Table1\n" + BODY).encode(),
        ("\ufeff" + BODY).encode(),
        ("\ufeff#Table1\n" + BODY).encode(),
        BODY.encode("utf-16"),
        (BODY + ",,,,\n\n").encode(),
        BODY.replace("\n", "\r\n").encode(),
        BODY.replace(",", ";").encode(),
        BODY.replace(",", "\t").encode(),
        BODY.replace("\n", ",\n").encode(),
        BODY.replace("266", "266.0").encode(),
        ('"' + BODY.replace(",", '","').replace("\n", '"\n"')[:-1]).encode(),
        ("# " + BODY).encode(),
        gzip.compress(BODY.encode(), mtime=0),
    ],
)
def test_one_table_in_many_clothes(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    table = read_table(tmp_path / "t.csv")
    assert table.colnames == ["plate", "mjd", "fiberid", "z", "ra"] and len(table) == 1
    assert table["plate"][0] == 266 and table["plate"].dtype.kind == "i" and table["z"][0] == 0.3


def test_what_is_not_known(tmp_path):
    (tmp_path / "t.csv").write_text(BODY + "3586.0,55181,76,null,--\n,,,NaN,\n")
    table = read_table(tmp_path / "t.csv")
    assert table["z"].dtype.kind == "f" and np.isnan(table["z"][1:]).all() and np.isnan(table["ra"][1:]).all()
    assert table["plate"].tolist() == [266, 3586, None] and table["plate"].dtype.kind == "i"


def test_large_identifiers_stay_exact(tmp_path):
    (tmp_path / "t.csv").write_text("specobjid\n12384902411881566208\n4037498043582664704\n")
    assert [int(value) for value in read_table(tmp_path / "t.csv")["specobjid"]] == [
        12384902411881566208,
        4037498043582664704,
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "#Table1\n\n", "t.csv: cannot be read as a table: an empty table"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "t.csv, line 3: 3 cells, where the header has 2"),
        ("t.csv", "a,a\n1,2\n", "two columns are named 'a'"),
        ("t.ecsv", "a b\n1 2\n", "t.ecsv: cannot be read as a table: no ECSV"),
        (
            "t.ecsv",
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1.5\n",
            "line 6: '1.5'",
        ),
        ("t.fits", "SIMPLE = T", "t.fits: cannot be read as a table: "),
        ("t.parquet", "PAR1", "t.parquet: cannot be read as a table: "),
        ("t.vot", "<html>", "t.vot: cannot be read as a table: "),
        ("t.json", "{}", "t.json: cannot be read as a table: no table"),
        ("t.jsonl", '{"z": 1}\n{"z": 2\n', "t.jsonl, line 2: "),
        ("t.xls", "", r"t.xls: unknown kind of table; known are .*\.parquet"),
        (".csv", "", "unknown kind of table"),
    ],
)
def test_no_table(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*z\.csv"):
        read_table(tmp_path / "z.csv")
    with pytest.raises(ValueError, match="no tables named part"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.ecsv", "t.fits", "t.vot", "t.json", "t.jsonl"])
def test_text_with_a_nul_is_not_cut(tmp_path, name):
    write_table(QTable({"class_pipe": np.array(["\0a", "b\0c", "d"])}), tmp_path / name)
    assert read_table(tmp_path / name)["class_pipe"].tolist() == ["\0a", "b\0c", "d"]


def test_names():
    assert table_format("a/Z.CSV.GZ") == "csv" and table_format("z.fit") == "fits"
    assert is_table("z.json.gz") and not is_table("z") and not is_table("csv") and not is_table("spec.txt")


# -------------------------------------------------------------------------------------------------------------------
# What is written is read


def same(found, expected):
    """Names, kinds, masks, values and units are those that were written."""
    assert found.colnames == expected.colnames and len(found) == len(expected)
    for name in expected.colnames:
        ours, theirs = expected[name], found[name]
        kind = ours.dtype.kind
        assert theirs.dtype.kind == kind, name
        missing = np.ma.getmaskarray(ours) if kind in "iub" else np.zeros(len(ours), bool)
        np.testing.assert_array_equal(np.ma.getmaskarray(theirs), missing, err_msg=name)
        ours, theirs = (np.asarray(getattr(column, "value", column))[~missing] for column in (ours, theirs))
        np.testing.assert_array_equal(theirs, ours, err_msg=name)


# Everything but halves of characters, which no text in UTF-8 can hold.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["", " ", " a ", "# a", "#", '"', '""', "a,b", "1.5", "007", "null", "nan", "True", "--", "\\x20", "\n", "a\r\nb", "\t", "José/星.fits", "\ufeff", "a\\"]),
)  # fmt: skip
VALUES = {
    str: TEXT,
    np.int32: st.integers(-(2**31), 2**31 - 1),
    np.int64: st.integers(-(2**63), 2**63 - 1),
    np.float64: st.floats(allow_infinity=False, width=64),
}


@st.composite
def tables(draw):
    """Tables with the columns of results, and one more of integers of which some are missing."""
    n = draw(st.integers(1, 4))
    empty = draw(st.booleans())
    columns = {}
    for name, dtype, *_ in TABLE_COLUMNS:
        values = st.just("") if name == "error" and empty else VALUES[dtype]
        columns[name] = draw(st.lists(values, min_size=n, max_size=n))
    table = make_table(columns, {"model": draw(TEXT)}, names=[name for name, *_ in TABLE_COLUMNS])
    numbers = draw(st.lists(VALUES[np.int64], min_size=n, max_size=n))
    missing = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    table["n"] = MaskedColumn(np.array(numbers), mask=missing if any(missing) else False)
    table["good"] = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return table


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".ecsv.gz", ".csv.gz", ".fits.gz", ".parquet.gz", ".vot.gz"])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_what_was_written_is_read(tmp_path, suffix, table):
    # Lines of JSON and CSV say nothing about a column in which nothing is.
    assume("json" not in suffix and "csv" not in suffix or not np.ma.getmaskarray(table["n"]).all())
    path = tmp_path / f"z{suffix}"
    before = table.copy()
    write_table(table, path)
    same(read_table(path), before)
    same(table, before)
    assert table.meta == before.meta


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_units_and_provenance(tmp_path, suffix):
    table = QTable({"ra": [1.0, 2.0] * u.deg}, meta={"model": "rnet-e-2", "model_sha256": "0" * 64})
    table["z"] = MaskedColumn([1.5, 2.5], mask=[False, True], description="Redshift", format=".2f")
    write_table(table, tmp_path / f"z{suffix}")
    found = read_table(tmp_path / f"z{suffix}")
    assert found["z"][0] == 1.5 and np.isnan(found["z"][1]) and not hasattr(found["z"], "mask")
    if suffix not in (".csv", ".jsonl"):
        assert found["ra"].unit == u.deg and found.meta["model"] == "rnet-e-2"
        assert found["z"].description == "Redshift" and found.meta["model_sha256"] == "0" * 64


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_rows(tmp_path, suffix):
    table = make_table({name: [] for name, *_ in TABLE_COLUMNS}, {})
    write_table(table, tmp_path / f"z{suffix}")
    if suffix == ".jsonl":
        assert (tmp_path / "z.jsonl").read_bytes() == b"" and len(read_table(tmp_path / "z.jsonl")) == 0
        return
    found = read_table(tmp_path / f"z{suffix}")
    assert len(found) == 0 and found.colnames == table.colnames
    assert found["file"].dtype.kind == "U" and found["z"].dtype.kind == "f"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_some_columns(tmp_path, suffix):
    path = tmp_path / f"z{suffix}.gz"
    write_table(Table({"PLATE": [1, 2], "Z": [0.5, 0.7], "note": ["a", ""]}), path)
    assert read_table(path, columns=["z", "plate", "mjd"]).colnames == ["PLATE", "Z"]
    opened = open_table(path)
    assert opened.colnames == ["PLATE", "Z", "note"] and len(opened) == count_rows(path) == 2
    assert opened["note"].tolist() == ["a", ""] and opened["Z"].tolist() == [0.5, 0.7]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_programs_read_it(tmp_path, suffix):
    path = tmp_path / f"z{suffix}"
    write_table(Table({"plate": [3586, 266], "z": [0.5, np.nan], "error": ["", "no data"]}), path)
    if suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path).to_pydict()
    elif suffix == ".json":
        rows = json.loads(path.read_text())["rows"]
        table = {name: [row[name] for row in rows] for name in rows[0]}
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        table = {name: [row[name] for row in rows] for name in rows[0]}
    else:
        formats = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".vot": "votable", ".fits": "fits"}
        table = Table.read(path, format=formats[suffix])
    assert list(table["plate"]) == [3586, 266] and table["z"][0] == 0.5 and table["error"][1] == "no data"


def test_tables_of_other_programs(tmp_path):
    table = Table({"plate": [3586, 266], "z": [0.5, 0.7], "error": ["", "no data"]})
    for suffix, name in {
        ".ecsv": "ascii.ecsv",
        ".csv": "ascii.csv",
        ".vot": "votable",
        ".fits": "fits",
    }.items():
        path = tmp_path / f"z{suffix}"
        table.write(path, format=name)
        same(read_table(path), table)
    (tmp_path / "rows.json").write_text('[{"plate": 1, "z": null}, {"plate": 2, "z": 0.5, "note": "x"}]')
    found = read_table(tmp_path / "rows.json")
    assert (
        found["plate"].tolist() == [1, 2] and np.isnan(found["z"][0]) and found["note"].tolist() == ["", "x"]
    )


def test_text_that_was_piped():
    assert parse_table("#Table1\nz,cls\n1.5,QSO\n", "standard input")["cls"].tolist() == ["QSO"]
    with pytest.raises(ValueError, match=r"standard input, line 2: 2 cells"):
        parse_table("z\n1,2\n", "standard input")


def test_arrays(tmp_path):
    table = Table({"z": [1.0, 2.0], "pdf": np.arange(6.0).reshape(2, 3)})
    for suffix in (".fits", ".parquet", ".json", ".jsonl"):
        write_table(table, tmp_path / f"z{suffix}")
        np.testing.assert_array_equal(read_table(tmp_path / f"z{suffix}")["pdf"], table["pdf"])
    for suffix in (".ecsv", ".csv"):
        with pytest.raises(ValueError, match="column pdf holds arrays"):
            write_table(table, tmp_path / f"z{suffix}")
