from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn import conf, write_spec_lite
from specz_cnn.sdss import (
    SpecID,
    check_spec_lite,
    download_spectra,
    retry,
    search_spectra,
    write_rsync_list,
    write_url_list,
)

GOOD = ("ok", "present")


def assert_consistent(table, files, directory):
    """Every good row names a file that is byte for byte the server's, and nothing else bears a final name."""
    kept = set()
    for row in table:
        path = Path(row["path"])
        assert path.is_relative_to(directory)
        if row["status"] in GOOD:
            assert path.read_bytes() == files[path.name]
            assert row["n_bytes"] == len(files[path.name])
            assert row["error"] == ""
            kept.add(path)
        else:
            assert row["error"]
            assert row["n_bytes"] == 0
    assert set(Path(directory).rglob("*.fits")) == kept
    assert not list(Path(directory).rglob(".part-*"))


def make_trouble(server, names):
    """Moods for all kinds of trouble; the status that each name should end with, where it is not ok."""
    kinds = {
        "once busy": [503],
        "rate limit": [(429, {"Retry-After": "0"}), 500],
        "cut": ["cut"],
        "short": ["short"],
        "garbage": [b"<html>maintenance</html>"],
        "half a file": [server.files[names[-1]][:2880]],
        "always busy": [503] * 9,
        "always cut": ["cut"] * 9,
        "always short": ["short"] * 9,
        "another spectrum": [server.files[names[-1]]] * 9,
        "forbidden": [403],
    }
    expected = {}
    for number, (kind, moods) in enumerate(kinds.items()):
        for name in names[number * 3 : number * 3 + 3]:
            server.moods[name] = list(moods)
            if kind.startswith(("always", "another", "forbidden")):
                expected[name] = "failed"
    for name in names[40:42]:
        server.moods[name] = ["stall"]
    for name in names[50:58]:
        del server.files[name]
        expected[name] = "missing"
    return expected


def make_file(path, spec_id):
    """Content of a synthetic spec-lite file."""
    loglam = 3.6 + 1e-4 * np.arange(100)
    write_spec_lite(
        path, loglam, np.ones(100), np.ones(100), plate=spec_id.plate, mjd=spec_id.mjd, fiber=spec_id.fiber
    )
    content = path.read_bytes()
    path.unlink()
    return content


def test_three_hundred_files_with_every_trouble(sdss, archive_files, tmp_path):
    names = list(archive_files)
    expected = make_trouble(sdss, names)
    table = download_spectra(names, tmp_path / "sas")
    assert table.colnames == ["plate", "mjd", "fiber", "path", "status", "n_bytes", "error"]
    assert [Path(path).name for path in table["path"]] == names
    assert dict(zip(names, table["status"].tolist(), strict=True)) == {
        name: expected.get(name, "ok") for name in names
    }
    assert_consistent(table, archive_files, tmp_path)
    assert "503" in table["error"][names.index(next(n for n in expected if expected[n] == "failed"))]

    # Once more: only what is missing is asked for.
    sdss.requests.clear()
    sdss.moods.clear()
    again = download_spectra(names, tmp_path / "sas")
    assert set(sdss.requests) == set(expected)
    assert [
        (name, status)
        for name, status in zip(names, again["status"].tolist(), strict=True)
        if status != "present"
    ] == [(name, "missing" if expected[name] == "missing" else "ok") for name in names if name in expected]
    assert_consistent(again, archive_files, tmp_path)


SCRIPT = """
import sys
from specz_cnn import conf, write_spec_lite
from specz_cnn.sdss import download_spectra
url, directory, *names = sys.argv[1:]
conf.sas_baseurl = url
conf.timeout = 5
download_spectra(names, directory, connections=4)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_run_that_is_broken_off_leaves_no_partial_file_and_is_resumed(sdss, archive_files, tmp_path, how):
    names = list(archive_files)
    sdss.latency = 0.02
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", SCRIPT, f"{sdss.url}/sas", str(tmp_path), *names]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while sum(sdss.requests.values()) < 60 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(getattr(signal, how))
    assert process.returncode != 0
    sdss.latency = 0.0
    there = sorted(tmp_path.rglob("spec-*.fits"))
    assert 20 < len(there) < len(names)
    for path in there:
        assert path.read_bytes() == archive_files[path.name]
    # What a killed run may leave behind bears no final name, and goes when it is old.
    leftover = there[0].with_name(".part-1-0123abcd-" + there[0].name)
    leftover.write_bytes(b"half")
    os.utime(leftover, (1, 1))
    for path in tmp_path.rglob(".part-*"):
        os.utime(path, (1, 1))
    sdss.requests.clear()
    table = download_spectra(names, tmp_path)
    assert set(table["status"].tolist()) == {"ok", "present"}
    assert set(sdss.requests) == set(names) - {path.name for path in there}
    assert sum(table["status"] == "ok") == len(names) - len(there)
    assert_consistent(table, archive_files, tmp_path)


def test_directory_is_laid_out_as_the_archive(sdss, archive_files, tmp_path):
    name = next(iter(archive_files))
    table = download_spectra(name, tmp_path)
    path = SpecID.parse(name).lite_paths()[0]
    assert table["path"][0] == str(tmp_path / path)
    assert (tmp_path / path).is_file()


def test_default_directory_is_the_cache(sdss, archive_files):
    table = download_spectra([next(iter(archive_files))])
    assert Path(table["path"][0]).is_relative_to(conf.cache_dir)
    assert table["status"].tolist() == ["ok"]


def test_damaged_file_under_a_final_name_is_replaced(sdss, archive_files, tmp_path):
    name = list(archive_files)[5]
    path = Path(download_spectra(name, tmp_path)["path"][0])
    for damage in (
        b"",
        b"SIMPLE",
        archive_files[name][: len(archive_files[name]) // 5760 * 2880],
        archive_files[name] + b" " * 2880,
    ):
        path.write_bytes(damage)
        assert download_spectra(name, tmp_path)["status"].tolist() == ["ok"]
        assert path.read_bytes() == archive_files[name]
    assert download_spectra(name, tmp_path)["status"].tolist() == ["present"]
    assert download_spectra(name, tmp_path, overwrite=True)["status"].tolist() == ["ok"]


def test_reduction_is_found_by_trying(sdss, archive_files, tmp_path):
    spec_id = SpecID(2700, 54380, 1)
    content = make_file(tmp_path / spec_id.filename, spec_id)
    sdss.files[spec_id.filename] = content
    sdss.only[spec_id.filename] = "103"
    table = download_spectra(spec_id, tmp_path / "sas")
    assert table["status"].tolist() == ["ok"]
    assert "/redux/103/" in table["path"][0].replace(os.sep, "/")
    assert sdss.requests[spec_id.filename] == 3
    assert download_spectra(spec_id, tmp_path / "sas")["path"].tolist() == table["path"].tolist()
    assert sdss.requests[spec_id.filename] == 3
    known = download_spectra(SpecID(2700, 54380, 1, "26"), tmp_path / "sas")
    assert known["status"].tolist() == ["missing"]
    sdss.files.clear()
    nowhere = download_spectra(SpecID(2700, 54380, 2), tmp_path / "sas")
    assert "nor another reduction of it (3 tried)" in nowhere["error"][0]


def test_rows_follow_the_input(sdss, archive_files, tmp_path):
    name = list(archive_files)[7]
    table = download_spectra([name, "nonsense", name, "3586-55181-1", 12], tmp_path)
    assert table["status"].tolist() == ["ok", "failed", "ok", "missing", "failed"]
    assert table["plate"].tolist()[1:] == [-1, SpecID.parse(name).plate, 3586, -1]
    assert "names no SDSS spectrum" in table["error"][1]
    assert "not a specObjID" in table["error"][4]
    assert sdss.requests[name] == 1


def test_nothing_to_do(sdss, tmp_path):
    table = download_spectra([], tmp_path)
    assert len(table) == 0
    assert table["status"].dtype.kind == "U"
    assert table["plate"].dtype.kind == "i"


def test_search_result_is_downloaded(sdss, archive_files, tmp_path):
    found = search_spectra(plate=3586, mjd=55181, fiber=76, science_primary=False)
    sdss.files[SpecID.from_table(found)[0].filename] = b""
    table = download_spectra(found, tmp_path, retries=0)
    assert table["status"].tolist() == ["failed"]
    assert "empty" in table["error"][0]


def test_names_never_leave_the_directory(sdss, tmp_path):
    rows = Table({"plate": [3586] * 2, "mjd": [55181] * 2, "fiber": [76] * 2, "run2d": ["../../..", "/etc"]})
    table = download_spectra(rows, tmp_path / "sas")
    assert table["status"].tolist() == ["failed", "failed"]
    assert not list(tmp_path.rglob("*.fits"))
    hostile = ["../../spec-3586-55181-0076.fits", "/etc/spec-3586-55181-0076.fits", "..-55181-76"]
    paths = [path for path in download_spectra(hostile, tmp_path / "sas")["path"].tolist() if path]
    assert paths and all(Path(path).resolve().is_relative_to(tmp_path / "sas") for path in paths)


def test_no_network(nowhere, tmp_path):
    start = time.monotonic()
    names = [f"3586-55181-{fiber}" for fiber in range(1, 500)]
    table = download_spectra(names, tmp_path, connections=4)
    assert time.monotonic() - start < 20
    assert set(table["status"].tolist()) == {"failed"}
    assert "no connection" in table["error"][0]
    assert "refused" in table["error"][0]
    assert "not tried after 4 failures in a row: no connection" in table["error"][-1]


def test_server_that_is_down_is_left_alone(sdss, archive_files, tmp_path):
    names = list(archive_files)
    for name in names:
        sdss.moods[name] = [503] * 9
    table = download_spectra(names, tmp_path, connections=4)
    assert set(table["status"].tolist()) == {"failed"}
    assert 12 <= sum(sdss.requests.values()) < 40
    assert "HTTP status 503" in table["error"][0]
    assert "not tried after 4 failures in a row: HTTP status 503" in table["error"][-1]


def test_full_disk_or_blocked_path_is_one_row(sdss, archive_files, tmp_path):
    first, second = list(archive_files)[100:102]
    blocked = tmp_path / SpecID.parse(first).lite_paths()[0]
    blocked.mkdir(parents=True)
    (blocked / "inside").touch()
    table = download_spectra([first, second], tmp_path)
    assert table["status"].tolist() == ["failed", "ok"]
    assert "Error" in table["error"][0]
    assert not list(tmp_path.rglob(".part-*"))


def test_too_large_an_answer_is_refused(sdss, archive_files, tmp_path, monkeypatch):
    monkeypatch.setattr("specz_cnn.sdss.download._MAX_BYTES", 1 << 12)
    table = download_spectra(next(iter(archive_files)), tmp_path)
    assert table["status"].tolist() == ["failed"]
    assert "larger than" in table["error"][0]


@pytest.mark.parametrize(
    "options", [{"connections": 0}, {"retries": -1}, {"timeout": 0}, {"timeout": np.inf}]
)
def test_options_are_checked(options, tmp_path):
    with pytest.raises(ValueError, match=next(iter(options))):
        download_spectra([], tmp_path, **options)


def test_progress_bar(sdss, archive_files, tmp_path, capsys):
    names = list(archive_files)[:3]
    download_spectra(names, tmp_path)
    assert capsys.readouterr().err == ""
    download_spectra(names, tmp_path, progress=True)
    captured = capsys.readouterr()
    assert "3/3" in captured.err
    assert captured.out == ""


def test_real_files_pass_the_check(spectrum_paths):
    for path in spectrum_paths:
        check_spec_lite(path, SpecID.parse(path.name))


def test_backoff():
    assert 0.25 <= retry.backoff(0) <= 0.5
    assert 2 <= retry.backoff(3) <= 4
    assert retry.backoff(30) <= 60
    assert retry.backoff(0, "7") == 7
    assert retry.backoff(0, "100000") == 60
    assert retry.backoff(0, "Wed, 21 Oct 2015 07:28:00 GMT") <= 0.5
    assert retry.backoff(0, "soon") <= 0.5


def test_lists_for_wget_and_rsync(tmp_path):
    ids = ["3586-55181-76", 4037498043582664704, SpecID(266, 51602, 13, "26")]
    path = write_url_list(ids, tmp_path / "download_url.txt")
    root = "https://data.sdss.org/sas/dr16/"
    assert path.read_text().splitlines() == [
        root + "eboss/spectro/redux/v5_13_0/spectra/lite/3586/spec-3586-55181-0076.fits",
        root + "sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0013.fits",
    ]
    command = write_rsync_list(ids, tmp_path / "speclist.txt", data_release=17)
    assert (tmp_path / "speclist.txt").read_text().splitlines() == [
        "eboss/spectro/redux/v5_13_2/spectra/lite/3586/spec-3586-55181-0076.fits",
        "eboss/spectro/redux/v5_13_0/spectra/lite/3586/spec-3586-55181-0076.fits",
        "sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0013.fits",
    ]
    assert command.endswith("rsync://data.sdss.org/dr17 dr17")
    with pytest.raises(ValueError, match="identifier 0"):
        write_url_list(["nonsense"], tmp_path / "other.txt")
    assert not (tmp_path / "other.txt").exists()
    assert write_url_list([], tmp_path / "empty.txt").read_text() == ""
