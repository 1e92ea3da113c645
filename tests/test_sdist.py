"""The source distribution is the whole source."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from page_blocks import blocks_of, commands_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """What git tracks, and the source distribution of a copy of it."""
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
    return tracked, next(target.glob("*.tar.gz"))


def test_everything_that_is_tracked_is_in_it(archive):
    tracked, path = archive
    with tarfile.open(path) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    assert {"constraints.txt", "docs/conf.py", "tests/conftest.py", "CHANGES.rst", "README.rst"} <= packed
    assert sorted(set(tracked) - packed) == []


def test_commands_of_its_readme_run(archive, tmp_path):
    """Every ``specz-cnn`` of the README, with the code of the archive alone; only the installation, which needs a network, is left out."""
    with tarfile.open(archive[1]) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    blocks = blocks_of((source / "README.rst").read_text(encoding="utf-8"))
    lines = [line for b in blocks if b.kind == "console" for line, _ in commands_of(b.text)]
    commands = [part for line in lines for part in line.split(" && ") if part.startswith("specz-cnn ")]
    assert len(commands) >= 2
    code = (
        "import specz_cnn; from specz_cnn.simulate.parametric import write_example; print(specz_cnn.__file__)"
    )
    code += "; import os; os.mkdir('spectra'); write_example('spectra/spec-0001-50000-0001.fits')"
    place = run_python(source, tmp_path, "-c", code)
    assert Path(place.strip()) == source / "specz_cnn" / "__init__.py"
    said = [run_python(source, tmp_path, "-m", "specz_cnn", *shlex.split(line)[1:]) for line in commands]
    assert any("example-spec.fits" in text for text in said)
    assert (tmp_path / "redshifts.ecsv").stat().st_size > 1000


def run_python(source, directory, *words):
    """Standard output of a Python that knows no other copy of the package."""
    env = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, *words], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
