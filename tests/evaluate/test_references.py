from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_allclose, assert_array_equal

from specz_cnn.evaluate import match_results, read_labels, split_half
from specz_cnn.evaluate.references import LABEL_COLUMNS
from specz_cnn.io.tables import read_table


@pytest.fixture
def dr16q():
    """Five rows with the columns of DR16Q."""
    return Table(
        {
            "PLATE": np.int32([3586, 3586, 7000, 7000, 11000]),
            "MJD": np.int32([55181, 55181, 56700, 56700, 58500]),
            "FIBERID": np.int16([76, 80, 1, 1000, 5]),
            "RA": [10.0, 20.0, 30.0, 40.0, 10.00001],
            "DEC": [0.0, 0.0, 0.0, 0.0, 0.0],
            "Z": [2.824, 2.0, 1.5, 0.9, -1.0],
            "Z_VI": [2.826, -1.0, 1.7, -1.0, 3.1],
            "Z_CONF": np.int16([3, -1, 1, -1, 1]),
            "CLASS_PERSON": np.int16([3, 0, 30, 50, 4]),
            "Z_PIPE": [2.82, 2.01, 1.5, -1.0, 0.3],
            "Z_QN": [-1.0, -1.0, 1.5, -1.0, -1.0],
            "BAL_PROB": np.float32([0.0, 0.9, -1.0, 0.0, 0.0]),
            "SN_MEDIAN_ALL": [3.0, 2.0, 1.0, 0.5, 4.0],
            "PSFFLUX": np.zeros((5, 5)),
        }
    )


@pytest.mark.parametrize("how", ["table", "fits", "fits.gz", "ecsv", "votable"])
def test_dr16q(dr16q, tmp_path, how):
    source = dr16q
    if how != "table":
        source = tmp_path / f"catalogue.{'vot' if how == 'votable' else how}"
        formats = {"ecsv": "ascii.ecsv", "votable": "votable"}
        dr16q.write(source, format=formats.get(how, "fits"))
    labels = read_labels(source)
    # A sure visual redshift, else the catalogue's, else an unsure visual one.
    assert_allclose(labels["z_true"], [2.826, 2.0, 1.5, 0.9, 3.1])
    assert_array_equal(labels["trust"], [3, 2, 2, 2, 1])
    assert_array_equal(labels["cls"], ["QSO", "QSO", "QSO", "BLAZAR", "GALAXY"])
    assert_array_equal(labels["bal"], [False, True, True, False, False])
    assert_allclose(labels["z_pipe"], [2.82, 2.01, 1.5, np.nan, 0.3])
    assert "z_qn" not in labels.colnames
    assert_array_equal(labels["fiber"], [76, 80, 1, 1000, 5])
    assert_array_equal(labels["snr_label"], [3.0, 2.0, 1.0, 0.5, 4.0])
    assert labels["group"][0] == labels["group"][4]
    assert_array_equal(labels["half"], split_half(labels["group"]))
    assert labels.meta["truth"] == "z_vi else z"
    assert labels.colnames[: len(LABEL_COLUMNS)] == list(LABEL_COLUMNS)


def test_named_truth(dr16q):
    labels = read_labels(dr16q, truth="Z_PIPE")
    assert_allclose(labels["z_true"], [2.82, 2.01, 1.5, np.nan, 0.3])
    assert "z_pipe" not in labels.colnames
    assert_array_equal(labels["trust"], 2)
    visual = read_labels(dr16q, truth="z_vi")
    assert_allclose(visual["z_true"], [2.826, np.nan, 1.7, np.nan, 3.1])
    assert_array_equal(visual["trust"][[0, 2, 4]], [3, 1, 1])


def test_objects_by_thing_id(dr16q):
    dr16q["THING_ID"] = [7, -1, 7, 0, 9]
    group = read_labels(dr16q)["group"]
    assert group[0] == group[2] == "7"
    assert len(set(group)) == 4


def test_superset_says_what_is_a_quasar(dr16q):
    dr16q["IS_QSO_FINAL"] = [1, 0, 1, 1, 0]
    dr16q["CLASS_PERSON"] = [0, 0, 3, 0, 1]
    assert_array_equal(read_labels(dr16q)["cls"], ["QSO", "", "QSO", "QSO", "STAR"])


def test_verdicts_of_an_inspection(tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text(
        "plate,mjd,fiber,z_vi,class_person,z_conf,comment\n"
        "3586,55181,76,2.83,3,3,\n"
        '3586,55181,77,,1,3,"star, M type"\n'
        "3586,55181,78,1.2,30,1,unsure\n"
        "3586,55181,79,,0,0,?\n"
    )
    labels = read_labels(path)
    assert_allclose(labels["z_true"], [2.83, np.nan, 1.2, np.nan])
    assert_array_equal(labels["cls"], ["QSO", "STAR", "QSO", ""])
    assert_array_equal(labels["trust"], [3, 3, 1, 1])
    assert_array_equal(labels["bal"], [False, False, True, False])
    assert labels.meta == {"truth": "z_vi", "labels": "verdicts.csv"}


def test_verdicts_of_the_page(tmp_path):
    """Its z is the redshift that was looked at, and it begins with a byte-order mark."""
    path = tmp_path / "verdicts.csv"
    path.write_text(
        "file,plate,mjd,fiber,z,z_vi,class_person,z_conf,verdict,comment,inspector,date\n"
        "spec-1-2-3.fits,1,55000,3,2.0,2.1,3,3,correct,,A,2020-01-01\n"
        "spec-1-2-4.fits,1,55000,4,0.3,,0,3,reject,,A,2020-01-01\n"
        "spec-1-2-5.fits,1,55000,5,0.3,0.4,3,3,disagree,,A B,2020-01-01\n",
        encoding="utf-8-sig",
    )
    labels = read_labels(path)
    assert_allclose(labels["z_true"], [2.1, np.nan, 0.4])
    assert_array_equal(labels["cls"], ["QSO", "", "QSO"])
    assert_array_equal(labels["trust"], [3, 3, 0])
    assert labels["file"][0] == "spec-1-2-3.fits"


def test_blank_cells(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,z,cls,z_vi,trust\nspec-0266-51602-0013.fits,0.5,qso,,2\nx.fits,,,,\n")
    labels = read_labels(path)
    assert_array_equal(labels["z_true"], [0.5, np.nan])
    assert_array_equal(labels["trust"], [2, 0])
    assert_array_equal(labels["cls"], ["QSO", ""])
    assert_array_equal(labels["plate"], [266, -1])
    assert_array_equal(labels["fiber"], [13, -1])
    assert_array_equal(labels["group"], ["266-51602-13", "x.fits"])


def test_selection_of_labels(survey):
    labels, _ = survey
    assert len(read_labels(labels, where={"survey": "BOSS"})) == 200
    assert len(read_labels(labels, where={"Survey": {"BOSS", "SDSS"}, "cls": {"STAR"}})) == 40
    with pytest.raises(ValueError, match="no label fulfils"):
        read_labels(labels, where={"survey": "DESI"})
    with pytest.raises(ValueError, match="no column 'instrument'"):
        read_labels(labels, where={"instrument": "BOSS"})


@pytest.mark.parametrize(
    ("columns", "truth", "message"),
    [
        ({"plate": [1]}, None, "neither a column 'z' nor 'z_vi'"),
        ({"z": [1.0]}, None, "identify no spectrum"),
        ({"z": [1.0], "file": ["a"]}, "z_best", "no column 'z_best'"),
    ],
)
def test_useless_labels(columns, truth, message):
    with pytest.raises(ValueError, match=message):
        read_labels(Table(columns), truth=truth)


def test_unknown_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match=r"unknown kind of table.*\.parquet"):
        read_table(tmp_path / "z.xls")


def test_match_by_numbers_and_by_name(survey):
    labels, results = survey
    labels = read_labels(labels)
    # Without numbers, the file name gives them; a name of another form must be equal.
    shuffled = results[::-1][:50].copy()
    shuffled["plate"][:10] = -1
    matched = match_results(shuffled, labels)
    assert_array_equal(matched["fiber"], shuffled["fiber"])
    assert_array_equal(matched["z"], shuffled["z"])
    assert matched["file"][0] == "spec-3586-55181-0400.fits"
    assert matched.meta["labels_without_result"] == 350
    named = Table({"file": ["a/b.fits", "c.fits"], "z": [1.0, 2.0]})
    matched = match_results(named, read_labels(Table({"file": ["b.fits", "d.fits"], "z": [1.1, 2.0]})))
    assert_allclose(matched["z_true"], [1.1])
    assert matched.meta["results_without_label"] == 1


def test_spectra_of_other_observations_do_not_match(survey):
    labels, results = survey
    other = results.copy()
    other["mjd"] += 1
    other["file"] = "unknown.fits"
    with pytest.raises(ValueError, match="none of the 400 results is among the 400 labels"):
        match_results(other, read_labels(labels))
    with pytest.raises(ValueError, match="no column 'z'"):
        match_results(labels["plate", "mjd", "fiber"], read_labels(labels))


def test_repeated_labels_say_so(survey):
    labels, results = survey
    again = labels[:3].copy()
    again["z"], again["trust"] = 9.0, [3, 1, 2]
    from astropy.table import vstack

    with pytest.warns(AstropyUserWarning, match="3 labels repeat a spectrum"):
        matched = match_results(results, read_labels(vstack([labels, again])))
    assert_allclose(matched["z_true"][:3], [9.0, *labels["z"][1:3]])


@pytest.mark.parametrize("kind", ["ecsv", "csv", "fits", "parquet", "vot"])
def test_results_of_every_format(survey, tmp_path, kind):
    labels, results = survey
    path = tmp_path / f"z.{kind}"
    table = Table(results, masked=True)
    table["flags"] = MaskedColumn(table["flags"], mask=False)
    formats = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "vot": "votable"}
    table.write(path, format=formats.get(kind, kind))
    matched = match_results(path, read_labels(labels))
    for name in ("z", "z_err", "confidence", "snr"):
        assert_allclose(matched[name], results[name])
    assert_array_equal(matched["flags"], results["flags"])
    assert_array_equal(matched["error"], results["error"])
    assert matched.meta["results"] == f"z.{kind}"


def test_parts_of_a_large_run(survey, tmp_path):
    labels, results = survey
    with pytest.raises(ValueError, match="no tables named part"):
        read_table(tmp_path)
    for number, rows in enumerate((results[:100], results[100:])):
        rows.write(tmp_path / f"part-{number:06d}.parquet", format="parquet")
    assert_array_equal(match_results(tmp_path, read_labels(labels))["z"], results["z"])


def test_pipeline_redshift_of_the_results_is_compared_too(survey):
    labels, results = survey
    labels = labels.copy()
    results = results.copy()
    results["z_pipe"] = labels["z_pipe"]
    labels.remove_columns(["z_pipe", "trust"])
    labels["z_vi"] = labels["z"]
    matched = match_results(results, read_labels(labels))
    assert_array_equal(matched["z_pipe"], results["z_pipe"])


def test_real_labels(data_dir):
    labels = read_labels(data_dir / "dev_labels.csv")
    assert len(labels) == 609
    assert dict(zip(*np.unique(labels["cls"], return_counts=True), strict=True)) == {
        "GALAXY": 155,
        "QSO": 415,
        "STAR": 39,
    }
    assert len(np.unique(labels["group"])) == 466
    assert np.isfinite(labels["z_true"]).all()
    # The quasar observed 78 times is on one side.
    name, count = np.unique(labels["group"], return_counts=True)
    assert len(set(labels["half"][labels["group"] == name[np.argmax(count)]])) == 1
