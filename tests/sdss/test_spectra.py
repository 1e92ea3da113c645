from __future__ import annotations

from pathlib import Path

import astropy.units as u
import pytest
from astropy.coordinates import SkyCoord
from specutils import SpectrumList

from specz_cnn import conf
from specz_cnn.sdss import SDSSError, SDSSWarning, SpecID, get_spectra


@pytest.fixture
def observed(sdss, spec_rows, archive_files):
    """Rows of the search whose files the archive has: real content under their names, less plate, MJD and fibre."""
    content = next(content for content in archive_files.values() if len(content) < 1 << 20)
    rows = [row for row in spec_rows if row["sciencePrimary"] and row["instrument"] == "BOSS"][:3]
    for row in rows:
        name = SpecID.from_specobjid(row["specObjID"]).filename
        sdss.files[name] = _rename(content, row)
    return rows


def _rename(content, row):
    """The file with another plate, MJD and fibre in its primary header."""
    for keyword, column in (("PLATEID", "plate"), ("MJD", "mjd"), ("FIBERID", "fiberID")):
        start = content.find(f"{keyword:8}=".encode())
        if start >= 0:
            content = (
                content[:start] + f"{keyword:8}= {row[column]:20d}".encode().ljust(80) + content[start + 80 :]
            )
    return content


def test_by_position(observed):
    positions = SkyCoord([row["ra"] for row in observed], [row["dec"] for row in observed], unit="deg")[::-1]
    spectra = get_spectra(positions, radius=3 * u.arcsec)
    assert isinstance(spectra, SpectrumList)
    assert [spectrum.meta["query_index"] for spectrum in spectra] == [0, 1, 2]
    names = [SpecID.parse(Path(spectrum.meta["file"]).name) for spectrum in spectra]
    assert [name.plate for name in names] == [row["plate"] for row in observed][::-1]
    assert spectra[0].spectral_axis.unit == u.AA
    assert Path(spectra[0].meta["file"]).is_relative_to(conf.cache_dir)


def test_by_name_without_asking_skyserver(sdss, archive_files, tmp_path):
    names = list(archive_files)[:4]
    spectra = get_spectra(ids=names, directory=tmp_path)
    assert [Path(spectrum.meta["file"]).name for spectrum in spectra] == names
    assert sdss.sql == []
    sdss.requests.clear()
    assert len(get_spectra(ids=names, directory=tmp_path)) == 4
    assert not sdss.requests


def test_by_plate(observed):
    (spectrum,) = get_spectra(plate=observed[0]["plate"])
    assert spectrum.meta["query_index"] == 0


def test_some_are_missing(sdss, archive_files, tmp_path):
    names = list(archive_files)[:2]
    with pytest.warns(
        SDSSWarning, match=r"1 of 3 spectra are not to be had: 3586-55181-1: the archive has no dr16/"
    ):
        spectra = get_spectra(ids=[names[0], "3586-55181-1", names[1]], directory=tmp_path)
    assert [spectrum.meta["query_index"] for spectrum in spectra] == [0, 2]


def test_unreadable_file_is_missing(sdss, archive_files, tmp_path, monkeypatch):
    names = list(archive_files)[:2]
    monkeypatch.setattr("specz_cnn.sdss.integrity._check", lambda *args: None)
    sdss.moods[names[0]] = [b"SIMPLE  = nonsense"]
    with pytest.warns(SDSSWarning, match="1 of 2 spectra are not to be had"):
        assert len(get_spectra(ids=names, directory=tmp_path)) == 1


def test_no_match(sdss):
    with pytest.warns(SDSSWarning, match="no spectrum of SDSS DR16 matches"):
        spectra = get_spectra(SkyCoord(10, -80, unit="deg"))
    assert isinstance(spectra, SpectrumList)
    assert len(spectra) == 0


def test_unknown_id_is_one_clear_message(sdss):
    with pytest.raises(
        SDSSError, match="1 of 1 spectra are not to be had: 3586-55181-1: the archive has no dr16/eboss"
    ):
        get_spectra(ids="3586-55181-1")


def test_no_network(nowhere):
    with pytest.raises(SDSSError, match=r"3586-55181-76: no connection: .*refused"):
        get_spectra(ids="3586-55181-76")
    with pytest.raises(SDSSError, match="cannot reach SkyServer"):
        get_spectra(SkyCoord(10, -80, unit="deg"))
