"""Names of spectra and their files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import specz_cnn
from specz_cnn.io.names import parse_file_name, parse_name, spec_file_name, spec_name
from specz_cnn.sdss import SpecID

OBSERVATIONS = [(266, 51602, 13), (3586, 55181, 1000), (15150, 59200, 4)]


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_there_and_back(observation):
    name, file = spec_name(*observation), spec_file_name(*observation)
    assert file == f"spec-{name}.fits" == SpecID(*observation).filename
    assert parse_name(name) == parse_name(file) == parse_name(file + ".gz") == observation
    assert parse_file_name(file) == parse_file_name(Path("/some/where") / file) == observation
    assert parse_file_name(rf"C:\spectra\{file}.gz") == observation


def test_numbers_of_numpy():
    assert spec_file_name(np.int32(3586), np.int16(32000), np.uint8(76)) == "spec-3586-32000-0076.fits"


@pytest.mark.parametrize(
    "name", ["spec-015150-59200-4544931812.fits", "spec-015150-59200-27021600949438682.fits"]
)
def test_names_of_sdss_v(name):
    assert parse_file_name(name) == tuple(map(int, re.findall(r"\d+", name)))


def test_the_directory_does_not_count():
    assert parse_file_name("spec-3586-55181-0076.fits/coadd.fits") is None


@pytest.mark.parametrize("text", ["", "photo.fits", "3586-55181", "3586-55181-76x", "spec-3586-55181-12345"])
def test_no_names(text):
    assert parse_name(text) is None


def test_the_format_is_known_in_one_place():
    root = Path(specz_cnn.__file__).parent
    pattern = re.compile(r"spec-(\{|\(\\d)")
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"io/names.py"}
