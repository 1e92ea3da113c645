from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table

from specz_cnn.sdss import crossmatch_dr16q


@pytest.fixture
def catalogue(tmp_path):
    """A file with the columns of DR16Q_v4.fits that matter, of three quasars, and one that does not."""
    table = Table(
        {
            "SDSS_NAME": ["a", "b", "c"],
            "RA": [150.0, 151.0, 359.9999],
            "DEC": [2.0, -2.0, 0.0],
            "PLATE": np.array([3586, 11000, 266], dtype=np.int32),
            "MJD": np.array([55181, 58000, 51602], dtype=np.int32),
            "FIBERID": np.array([76, 1000, 13], dtype=np.int16),
            "Z": [2.82, 1.5, 0.3],
            "Z_VI": [2.83, -1.0, -1.0],
            "Z_CONF": np.array([3, -1, 0], dtype=np.int16),
            "CLASS_PERSON": np.array([30, 0, 0], dtype=np.int16),
            "Z_PIPE": [2.824, 1.51, 0.31],
            "Z_PCA": [2.825, 1.52, -1.0],
            "ZWARN_PCA": np.array([0, 4, 0]),
            "Z_QN": [2.826, -1.0, 0.33],
            "SN_MEDIAN_ALL": [5.0, 1.0, 9.0],
        }
    )
    path = tmp_path / "DR16Q_v4.fits"
    table.write(path)
    return path


@pytest.fixture
def results():
    return QTable(
        {
            "plate": [266, 3586, 7000, -1, 11000],
            "mjd": [51602, 55181, 57000, -1, 58000],
            "fiber": [13, 76, 5, -1, 999],
            "ra": [0.0, 99.0, 150.0001, np.nan, 151.0] * u.deg,
            "dec": [0.0, 9.0, 2.0, np.nan, -2.1] * u.deg,
            "z": [0.3, 2.8, 2.8, np.nan, 1.5],
            "z_pipe": [0.1, 0.2, 0.3, 0.4, 0.5],
        }
    )


def test_by_name_then_by_position(catalogue, results):
    before = results.copy()
    joined = crossmatch_dr16q(results, catalogue)
    assert joined["match_dr16q"].tolist() == ["id", "id", "position", "", ""]
    assert joined["row_dr16q"].tolist() == [2, 0, 0, -1, -1]
    np.testing.assert_array_equal(joined["z_dr16q"], [0.3, 2.82, 2.82, np.nan, np.nan])
    np.testing.assert_array_equal(joined["z_vi"], [np.nan, 2.83, 2.83, np.nan, np.nan])
    np.testing.assert_array_equal(joined["z_pca"], [np.nan, 2.825, 2.825, np.nan, np.nan])
    np.testing.assert_array_equal(joined["z_qn"], [0.33, 2.826, 2.826, np.nan, np.nan])
    np.testing.assert_array_equal(joined["z_pipe"], results["z_pipe"])
    np.testing.assert_array_equal(joined["z_pipe_dr16q"], [0.31, 2.824, 2.824, np.nan, np.nan])
    assert joined["class_person"].tolist() == [0, 30, 30, -1, -1]
    assert joined["z_conf"].tolist() == [0, 3, 3, -1, -1]
    assert "bal_prob" not in joined.colnames
    assert results.colnames == before.colnames


def test_one_way_only(catalogue, results):
    by_id = crossmatch_dr16q(results, catalogue, match="id")
    assert by_id["row_dr16q"].tolist() == [2, 0, -1, -1, -1]
    by_position = crossmatch_dr16q(results, catalogue, match="position")
    assert by_position["row_dr16q"].tolist() == [2, -1, 0, -1, -1]
    wide = crossmatch_dr16q(results, catalogue, match="position", radius=10 * u.arcmin)
    assert wide["row_dr16q"].tolist() == [2, -1, 0, -1, 1]
    assert crossmatch_dr16q(results["plate", "mjd", "fiber"], catalogue)["z_pipe"][1] == 2.824
    plain = Table({"ra": [150.0], "dec": [2.0]})
    assert crossmatch_dr16q(plain, catalogue)["row_dr16q"].tolist() == [0]


def test_masked_and_empty(catalogue, results):
    masked = Table({"plate": np.ma.array([3586, 3586], mask=[0, 1]), "mjd": [55181] * 2, "fiber": [76] * 2})
    assert crossmatch_dr16q(masked, catalogue)["row_dr16q"].tolist() == [0, -1]
    empty = crossmatch_dr16q(results[:0], catalogue)
    assert len(empty) == 0
    assert "z_vi" in empty.colnames


def test_refusals(catalogue, results, tmp_path):
    with pytest.raises(ValueError, match="no columns to match by"):
        crossmatch_dr16q(results["z",], catalogue)
    with pytest.raises(ValueError, match="no columns to match by"):
        crossmatch_dr16q(results["ra", "dec"], catalogue, match="id")
    with pytest.raises(ValueError, match="match must be"):
        crossmatch_dr16q(results, catalogue, match="name")
    with pytest.raises(FileNotFoundError):
        crossmatch_dr16q(results, tmp_path / "none.fits")
    other = tmp_path / "other.fits"
    Table({"RA": [1.0], "DEC": [1.0]}).write(other)
    with pytest.raises(ValueError, match="is no DR16Q catalogue: it has no column PLATE, MJD, FIBERID"):
        crossmatch_dr16q(results, other)
