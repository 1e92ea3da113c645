"""The live services of SDSS; run with ``pytest --remote-data tests/sdss``."""

from __future__ import annotations

import astropy.units as u
import pytest
from astropy.coordinates import SkyCoord

from specz_cnn.sdss import SpecID, download_spectra, get_spectra, search_spectra

pytestmark = pytest.mark.remote_data

TALK = 4037498043582664704


def test_first_row_of_the_talk():
    table = search_spectra(ids=TALK)
    assert (table["plate"][0], table["mjd"][0], table["fiber"][0]) == (3586, 55181, 76)
    assert table["specobjid"][0] == TALK
    assert table["run2d"][0] == "v5_13_0"
    assert table["z_pipe"][0] == pytest.approx(2.82484, abs=1e-4)
    assert table["class_pipe"][0] == "QSO"


def test_cone_search():
    (row,) = search_spectra(ids=TALK)
    position = SkyCoord(row["ra"], row["dec"])
    table = search_spectra(position, radius=2 * u.arcsec)
    assert TALK in table["specobjid"].tolist()
    assert table["separation"][0] < 1 * u.arcsec
    assert len(search_spectra(SkyCoord(0, -89, unit="deg"))) == 0


def test_redshift_search():
    table = search_spectra(cls="QSO", instrument="BOSS", z_range=(2.8, 3.0), max_rows=9)
    assert len(table) == 9
    assert (table["z_pipe"] >= 2.8).all() and (table["z_pipe"] <= 3.0).all()
    assert set(table["instrument"].tolist()) == {"BOSS"}
    assert [SpecID.from_specobjid(row["specobjid"]).plate for row in table] == table["plate"].tolist()


@pytest.mark.parametrize(("run2d", "plate"), [("26", 266), ("103", 2475), ("104", 3295), ("v5_13_0", 3586)])
def test_a_file_of_each_reduction(run2d, plate, tmp_path):
    found = search_spectra(plate=plate, science_primary=False, max_rows=1)
    assert found["run2d"].tolist() == [run2d]
    table = download_spectra(found, tmp_path)
    assert table["status"].tolist() == ["ok"], table["error"][0]


def test_five_digit_plate(tmp_path):
    found = search_spectra(plate=10656, max_rows=2)
    assert set(download_spectra(found, tmp_path)["status"].tolist()) == {"ok"}


def test_get_spectra(tmp_path):
    (spectrum,) = get_spectra(ids="3586-55181-76", directory=tmp_path)
    assert spectrum.meta["plate"] == 3586
