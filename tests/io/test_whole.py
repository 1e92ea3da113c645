"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

import specz_cnn
from specz_cnn.io.whole import remove_unfinished, write_whole


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a.csv.gz"
    with write_whole(path) as part:
        part.write_text("new")
        assert part.name.startswith(".") and part.name.endswith("a.csv.gz")
        assert not path.exists()
    assert path.read_text() == "new"
    assert files(tmp_path) == ["a.csv.gz"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(type(error)), write_whole(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a"]


def test_a_disk_that_fails_at_the_last_moment(tmp_path, monkeypatch):
    def fsync(number):
        raise OSError(errno.EIO, "the disk failed")

    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="the disk failed"), write_whole(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a"]


def test_a_file_system_without_fsync(tmp_path, monkeypatch):
    def fsync(number):
        raise OSError(errno.EINVAL, "what is that?")

    monkeypatch.setattr(os, "fsync", fsync)
    with write_whole(tmp_path / "a") as part:
        part.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    with write_whole(path) as part:
        part.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


def test_permissions_of_a_new_file_are_those_of_any_other(tmp_path):
    (tmp_path / "other").write_text("")
    with write_whole(tmp_path / "a") as part:
        part.write_text("new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_that_may_not_be_written_is_not(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may be run by root
    with pytest.raises(PermissionError, match="a"), write_whole(path):
        pytest.fail("the work is done in vain")
    assert path.read_text() == "old"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed(tmp_path, exists):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "a", tmp_path / "link"
    if exists:
        target.write_text("old")
    link.symlink_to("disk/a")
    with write_whole(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert files(tmp_path / "disk") == ["a"]


def test_a_pipe_gets_the_content(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    with write_whole(pipe) as part:
        part.write_text("new")
    reader.join()
    assert got == ["new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_not_replaced():
    with write_whole(os.devnull) as part:
        part.write_text("gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_directory_in_the_way(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name), write_whole(tmp_path):
        pytest.fail("the work is done in vain")


def test_the_longest_name(tmp_path):
    path = tmp_path / ("é" * 120 + ".txt")
    with write_whole(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_many_writers_of_one_file(tmp_path):
    """Whoever is last wins, and the file is whole at every moment."""
    path = tmp_path / "a"
    path.write_text("0" * 10_000)

    def write(digit):
        for _ in range(10):
            with write_whole(path) as part:
                part.write_text(digit * 10_000)

    threads = [threading.Thread(target=write, args=(digit,)) for digit in "1234"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(set(path.read_text())) == 1
    for thread in threads:
        thread.join()
    assert path.stat().st_size == 10_000
    assert files(tmp_path) == ["a"]


def test_what_a_kill_leaves_is_removed(tmp_path):
    for name, age in ((".part-1-a", 100), (".part-2-b", 0), ("part-3", 100)):
        (tmp_path / name).write_text("half")
        stamp = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (stamp, stamp))
    remove_unfinished(tmp_path, older_than=50)
    assert files(tmp_path) == [".part-2-b", "part-3"]
    remove_unfinished(tmp_path)
    assert files(tmp_path) == ["part-3"]
    remove_unfinished(tmp_path / "nowhere")


def test_nobody_renames_by_hand():
    root = Path(specz_cnn.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("os.replace(", "os.rename(", "fsync("))
    }
    assert found == {"io/whole.py"}
