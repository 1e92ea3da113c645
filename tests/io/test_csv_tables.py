"""CSV as SkyServer and spreadsheets write it."""

from __future__ import annotations

import numpy as np
import pytest

from specz_cnn.io.csv_tables import read_csv

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
    ],
)
def test_one_table_in_many_clothes(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    table = read_csv(tmp_path / "t.csv")
    assert table.colnames == ["plate", "mjd", "fiberid", "z", "ra"] and len(table) == 1
    assert table["plate"][0] == 266 and table["z"][0] == 0.3


def test_null_is_masked(tmp_path):
    (tmp_path / "t.csv").write_text(BODY + "3586,55181,76,null,null\n")
    table = read_csv(tmp_path / "t.csv")
    assert table["z"].dtype.kind == "f" and np.ma.is_masked(table["z"][1]) and table["plate"][1] == 3586


def test_large_identifiers_stay_exact(tmp_path):
    (tmp_path / "t.csv").write_text("specobjid\n12384902411881566208\n4037498043582664704\n")
    assert [int(value) for value in read_csv(tmp_path / "t.csv")["specobjid"]] == [
        12384902411881566208,
        4037498043582664704,
    ]


def test_no_table(tmp_path):
    (tmp_path / "t.csv").write_text("#Table1\n\n")
    with pytest.raises(ValueError, match="t.csv: an empty table"):
        read_csv(tmp_path / "t.csv")
