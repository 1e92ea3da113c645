"""``specz-cnn search`` and ``specz-cnn download``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from astropy.table import QTable, Table

from specz_cnn.cli import main
from specz_cnn.sdss import SpecID

TALK = 4037498043582664704


def test_search_to_a_file(sdss, tmp_path, capsys):
    path = tmp_path / "found.ecsv"
    urls = tmp_path / "download_url.txt"
    words = ["search", "--class", "qso", "--instrument", "BOSS", "--z", "2.8", "3.0", "-n", "5"]
    assert main([*words, "-o", str(path), "--url-list", str(urls)]) == 0
    table = QTable.read(path)
    assert table["specobjid"][0] == TALK
    assert len(table) == 5
    assert len(urls.read_text().splitlines()) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "spectra of SDSS DR16 that match: 5" in captured.err
    assert "--max-rows cuts" in captured.err


@pytest.mark.parametrize("suffix", ["fits", "csv"])
def test_search_to_other_formats(sdss, tmp_path, suffix):
    path = tmp_path / f"found.{suffix}"
    assert main(["search", "--class", "QSO", "--instrument", "BOSS", "-o", str(path)]) == 0
    table = Table.read(path, **({"converters": {"specobjid": str}} if suffix == "csv" else {}))
    assert int(table["specobjid"][0]) == TALK


def test_search_by_position(sdss, spec_rows, tmp_path, capsys):
    row = spec_rows[10]
    assert main(["search", "--at", f"{row['ra']} {row['dec']}", "--at", "10:00:00 -80:00:00"]) == 0
    captured = capsys.readouterr()
    assert QTable.read(captured.out, format="ascii.ecsv")["specobjid"].tolist() == [row["specObjID"]]
    assert "no match for inputs (counted from 0): 1" in captured.err
    positions = tmp_path / "positions.csv"
    positions.write_text(f"name,RA,DEC\na,{row['ra']},{row['dec']}\n")
    assert main(["search", "--positions", str(positions), "--radius", "1"]) == 0


def test_search_by_name_and_plate(sdss, capsys):
    assert main(["search", "--id", str(TALK), "3586-55181-76"]) == 0
    assert "spectra of SDSS DR16 that match: 2" in capsys.readouterr().err
    assert main(["search", "--plate", "3586"]) == 0


def test_search_prints_sql(nowhere, capsys):
    assert main(["search", "--class", "QSO", "--z", "2.8", "3", "--zwarning", "0", "--sql"]) == 0
    assert "s.class = 'QSO' AND s.z >= 2.8 AND s.z <= 3.0 AND s.zWarning = 0" in capsys.readouterr().out


def test_no_match_is_said(sdss, capsys):
    assert main(["search", "--at", "10 -80"]) == 1
    assert "no spectrum of SDSS DR16 matches" in capsys.readouterr().err


def test_no_network_is_one_message(nowhere, tmp_path, capsys):
    assert main(["search", "--class", "QSO"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "specz-cnn search: error: cannot reach SkyServer at http://127.0.0.1:9: no connection"
    )
    assert main(["download", "3586-55181-76", "-d", str(tmp_path)]) == 1
    assert "3586-55181-76: no connection" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "here"], "cannot read the position 'here'"),
        (["--at", "1 2 3"], "cannot read the position"),
        (["--at", "10 -100"], "not on the sky"),
        (["--id", "nonsense"], "names no SDSS spectrum"),
        (["--at", "1 2", "--plate", "3586"], "give only one of --at and --plate"),
        ([], "nothing to search for"),
    ],
)
def test_usage_errors(nowhere, capsys, words, message):
    assert main(["search", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_download(sdss, archive_files, tmp_path, capsys):
    names = list(archive_files)[:5]
    lists = tmp_path / "names.txt"
    lists.write_text("# the talk's\n" + "\n".join(names[1:]) + "\n\n")
    status = tmp_path / "status.ecsv"
    words = ["download", names[0], str(lists), "-d", str(tmp_path / "sas"), "-o", str(status)]
    assert main(words) == 0
    assert Table.read(status)["status"].tolist() == ["ok"] * 5
    assert "5 fetched, 0 there already, 0 not in the archive, 0 failed" in capsys.readouterr().err
    assert main(words) == 0
    assert "0 fetched, 5 there already" in capsys.readouterr().err


def test_download_tells_what_is_missing(sdss, archive_files, tmp_path, capsys):
    assert main(["download", next(iter(archive_files)), "3586-55181-1", "rubbish", "-d", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert "1 fetched, 0 there already, 1 not in the archive, 1 failed" in err
    assert "3586-55181-1: the archive has no dr16/eboss" in err
    assert "'rubbish' names no SDSS spectrum" in err


def test_download_of_a_search_through_a_pipe(sdss, tmp_path, capsys, monkeypatch):
    assert main(["search", "--instrument", "BOSS", "-n", "3"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(capsys.readouterr().out))
    assert main(["download", "-", "-d", str(tmp_path), "-o", str(tmp_path / "status.csv")]) == 1
    table = Table.read(tmp_path / "status.csv")
    assert table["status"].tolist() == ["missing"] * 3
    assert table["plate"][0] == 3586


def test_lists(sdss, tmp_path, capsys):
    urls = tmp_path / "download_url.txt"
    assert main(["download", str(TALK), "--url-list", str(urls)]) == 0
    assert SpecID.parse(urls.read_text().strip()).specobjid == TALK
    assert "wget" in capsys.readouterr().err
    assert main(["download", str(TALK), "--rsync-list", str(tmp_path / "speclist.txt")]) == 0
    assert "rsync -avL --files-from" in capsys.readouterr().err
    assert not sdss.requests


@pytest.mark.parametrize("name", ["broken.fits", "broken.ecsv", "columns.csv"])
def test_unreadable_lists(nowhere, tmp_path, capsys, name):
    path = Path(tmp_path / name)
    path.write_text("a,b\n1,2\n")
    assert main(["download", str(path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) <= 3
