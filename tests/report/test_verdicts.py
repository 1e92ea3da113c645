from __future__ import annotations

import numpy as np
import pytest

from specz_cnn.report import VERDICT_COLUMNS, disagreements, merge_verdicts, read_verdicts, write_verdicts

ANN = {"plate": 3586, "mjd": 55181, "fiber": 76, "z": 2.5, "inspector": "Ann", "date": "2026-01-02T03:04:05Z"}


def write(path, *rows):
    lines = [",".join(VERDICT_COLUMNS)]
    for row in rows:
        row = {
            "file": "",
            "z_vi": "",
            "class_person": 3,
            "z_conf": 3,
            "verdict": "accept",
            "comment": "",
            "issues": "",
        } | row
        lines.append(",".join(str(row[name]) for name in VERDICT_COLUMNS))
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def vote(tmp_path, *rows):
    return read_verdicts(write(tmp_path / "verdicts.csv", *rows))


def test_read(tmp_path):
    table = vote(tmp_path, ANN | {"z_vi": 2.5}, ANN | {"fiber": 77, "verdict": "reject", "z_conf": 0})
    assert table.colnames == list(VERDICT_COLUMNS)
    assert table["z_vi"][0] == 2.5
    assert np.isnan(table["z_vi"][1])
    assert table["fiber"].tolist() == [76, 77]


def test_round_trip(tmp_path):
    table = vote(tmp_path, ANN | {"z_vi": 2.5, "comment": '"broad, noisy ""α"" line"'})
    write_verdicts(table, tmp_path / "new" / "again.csv")
    again = read_verdicts(tmp_path / "new" / "again.csv")
    assert again["comment"][0] == 'broad, noisy "α" line'
    assert all(again[name][0] == table[name][0] for name in VERDICT_COLUMNS)


def test_empty_file_of_verdicts(tmp_path):
    assert len(vote(tmp_path)) == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"verdict": "perhaps"}, "unknown verdict 'perhaps'"),
        ({"z_conf": 7}, "z_conf must be 0 to 3"),
        ({"z_vi": "high"}, "row 1"),
        ({"issues": "sky rain"}, "unknown issues: rain"),
    ],
)
def test_nonsense_is_refused_with_its_line(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        vote(tmp_path, ANN | {"z_vi": 2.5} | row)


def test_line_that_is_cut_off(tmp_path):
    path = write(tmp_path / "verdicts.csv", ANN)
    path.write_text(path.read_text(encoding="utf-8") + "spec.fits,1,2", encoding="utf-8")
    with pytest.raises(ValueError, match="row 2"):
        read_verdicts(path)


def test_other_table_is_refused(tmp_path):
    (tmp_path / "z.csv").write_text("plate,z\n1,2\n")
    with pytest.raises(ValueError, match="lacks file"):
        read_verdicts(tmp_path / "z.csv")


def test_agreement(tmp_path):
    ann = vote(tmp_path, ANN | {"z_vi": 2.5, "comment": "nice"})
    bob = vote(
        tmp_path,
        ANN | {"z_vi": 2.502, "inspector": "Bob", "class_person": 30, "z_conf": 2, "verdict": "correct"},
    )
    merged = merge_verdicts([ann, bob])
    row = merged[0]
    assert (row["verdict"], row["z_conf"], row["class_person"], row["n_inspectors"]) == ("correct", 2, 3, 2)
    assert row["z_vi"] == pytest.approx(2.501)
    assert row["inspector"] == "Ann;Bob"
    assert row["comment"] == "Ann nice"
    assert row["disagreement"] == ""
    assert len(disagreements(merged)) == 0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"z_vi": 1.2}, "z: Ann 2.5000, Bob 1.2000"),
        ({"z_vi": 2.5, "class_person": 4}, "class: Ann quasar, Bob galaxy"),
        ({"verdict": "reject", "z_conf": 0}, "z: Ann 2.5000, Bob reject"),
    ],
)
def test_disagreement(tmp_path, other, words):
    ann = vote(tmp_path, ANN | {"z_vi": 2.5})
    merged = merge_verdicts([ann, vote(tmp_path, ANN | {"inspector": "Bob"} | other)])
    (row,) = disagreements(merged)
    assert row["disagreement"] == words
    assert np.isnan(row["z_vi"])
    assert (row["class_person"], row["z_conf"]) == (0, 0)


def test_tolerance(tmp_path):
    tables = [vote(tmp_path, ANN | {"z_vi": 2.5}), vote(tmp_path, ANN | {"z_vi": 2.53, "inspector": "Bob"})]
    assert len(disagreements(merge_verdicts(tables))) == 1
    assert len(disagreements(merge_verdicts(tables, tolerance=3000))) == 0


def test_all_reject(tmp_path):
    reject = ANN | {"verdict": "reject", "z_conf": 0, "class_person": 1}
    merged = merge_verdicts([vote(tmp_path, reject), vote(tmp_path, reject | {"inspector": "Bob"})])
    assert merged["verdict"][0] == "reject"
    assert np.isnan(merged["z_vi"][0])


def test_latest_verdict_of_one_inspector_counts(tmp_path):
    new = vote(tmp_path, ANN | {"z_vi": 3.1, "date": "2026-05-01T00:00:00Z"})
    old = vote(tmp_path, ANN | {"z_vi": 2.5})
    for tables in ([new, old], [old, new]):
        merged = merge_verdicts(tables)
        assert len(merged) == 1
        assert merged["z_vi"][0] == 3.1


def test_disagreement_of_a_merged_file_stays_one(tmp_path):
    first = merge_verdicts(
        [vote(tmp_path, ANN | {"z_vi": 2.5}), vote(tmp_path, ANN | {"z_vi": 1.0, "inspector": "Bob"})]
    )
    write_verdicts(first, tmp_path / "merged.csv")
    again = merge_verdicts(
        [read_verdicts(tmp_path / "merged.csv"), vote(tmp_path, ANN | {"z_vi": 1.0, "inspector": "Cy"})]
    )
    assert again["verdict"].tolist() == ["disagree"]
    assert np.isnan(again["z_vi"][0])


def test_spectra_without_sdss_name_go_by_file(tmp_path):
    unnamed = {"plate": -1, "mjd": -1, "fiber": -1, "z": 1, "z_vi": 1, "inspector": "Ann", "date": ""}
    tables = [vote(tmp_path, unnamed | {"file": "a.fits"}, unnamed | {"file": "b.fits"})]
    assert len(merge_verdicts(tables)) == 2
    with pytest.raises(ValueError, match="names no spectrum"):
        merge_verdicts([vote(tmp_path, unnamed)])


def test_nothing_to_merge():
    with pytest.raises(ValueError, match="no verdicts"):
        merge_verdicts([])


def test_issues_of_all_inspectors_are_kept(tmp_path):
    ann = vote(tmp_path, ANN | {"z_vi": 2.5, "issues": "sky"})
    bob = vote(tmp_path, ANN | {"z_vi": 2.5, "inspector": "Bob", "issues": "two_objects sky"})
    assert merge_verdicts([ann, bob])["issues"][0] == "sky two_objects"


def test_files_without_issues_are_read(tmp_path):
    path = write(tmp_path / "old.csv", ANN | {"z_vi": 2.5})
    path.write_text(path.read_text(encoding="utf-8-sig").replace(",issues", "").replace("Z,", "Z"))
    assert read_verdicts(path)["issues"].tolist() == [""]
