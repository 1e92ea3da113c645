"""What services read about the project says the same as ``pyproject.toml``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_OTHER_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def requirements(words):
    """{name: what follows it} of requirements; extras do not count."""
    pairs = (re.match(r"([\w-]+)(?:\[.*?\])?\s*(.*)", word).groups() for word in words)
    return {name: bound.strip() for name, bound in pairs}


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def recipe():
    text = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    version = re.search(r'environ.get\("SPECZ_CNN_VERSION", "(.*?)"\)', text)[1]
    text = re.sub(r"{%.*?%}", "", text).replace("{{ version }}", version).replace("{{ PYTHON }}", "python")
    return yaml.safe_load(text)


def test_conda_recipe():
    import specz_cnn

    made = recipe()
    assert made["package"] == {"name": PROJECT["name"], "version": specz_cnn.__version__}
    wanted = requirements(PROJECT["dependencies"])
    found = requirements(made["requirements"]["run"])
    assert found.pop("python") == PROJECT["requires-python"]
    assert found == {_OTHER_NAMES.get(name, name): bound for name, bound in wanted.items()}
    (script,) = made["build"]["entry_points"]
    assert script == "specz-cnn = " + PROJECT["scripts"]["specz-cnn"]
    assert (ROOT / made["about"]["license_file"]).is_file()


def test_every_python_is_tested():
    versions = {word.rsplit(" ")[-1] for word in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", word)}
    rows = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert {row["python"] for row in rows if row["versions"] == "tested"} == versions
    assert {"newest", "oldest"} <= {row["versions"] for row in rows}


def test_oldest_versions_are_those_that_are_allowed():
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]["dask"]
    bounds = requirements([*PROJECT["dependencies"], *extras])
    for name, version in pinned.items():
        assert f"{version}.0".startswith(bounds[name].removeprefix(">=") + "."), name


def test_tested_versions_are_allowed():
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for word in PROJECT["dependencies"]:
        needed = Requirement(word)
        assert needed.specifier.contains(pinned[needed.name]), word


@pytest.mark.parametrize(
    "name",
    [
        ".github/workflows/remote.yml",
        ".github/workflows/tests.yml",
        ".pre-commit-config.yaml",
        ".readthedocs.yaml",
    ],
)
def test_files_and_options_that_services_are_told_of_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    read(name)
    for word in re.findall(r"(?:-c |configuration: |dependency-path: )([\w./*-]+)", text):
        assert list(ROOT.glob(word)) or (ROOT / word).exists(), word
    for extra in re.findall(r'"\.\[([\w,]+)\]"', text):
        assert set(extra.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_image_holds_what_surveys_need():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r'"/src\[(.*?)\]"', text)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    assert not {"specz_cnn", "pyproject.toml", "constraints.txt"} & set(
        (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    )
