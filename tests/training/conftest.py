"""What tests of training share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch


def load_module(name, path):
    """A module beside the tests, imported under a name of its own."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def surveys():
    """The module that makes small surveys."""
    return load_module("specz_cnn_training_survey", Path(__file__).with_name("survey.py"))


@pytest.fixture(scope="session")
def survey_files(surveys, tmp_path_factory):
    """Directory of 60 spectra of 30 objects, with ``catalogue.fits``."""
    directory = tmp_path_factory.mktemp("survey") / "spectra"
    surveys.make_survey(directory, 60)
    return directory


@pytest.fixture
def loopback(survey_files):
    """A server that plays the archive with the files of the small survey."""
    module = load_module("specz_cnn_loopback_sdss", Path(__file__).parents[1] / "sdss" / "server.py")
    files = {path.name: path.read_bytes() for path in survey_files.glob("spec-*.fits")}
    with module.serving(files) as server:
        yield server


@pytest.fixture(autouse=True)
def denormal_numbers():
    """The command flushes denormal numbers to zero; other tests must not notice."""
    yield
    torch.set_flush_denormal(False)
