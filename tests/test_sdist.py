"""The source distribution is the whole source."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Names of the files in the source distribution of a copy of what git tracks."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    tracked = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).symlink_to(ROOT / name)
    code = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(target)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    with tarfile.open(next(target.glob("*.tar.gz"))) as archive:
        return tracked, {name.partition("/")[2] for name in archive.getnames()}


def test_everything_that_is_tracked_is_in_it(names):
    tracked, packed = names
    assert {"constraints.txt", "docs/conf.py", "tests/conftest.py", "CHANGES.rst", "README.rst"} <= packed
    assert sorted(set(tracked) - packed) == []
