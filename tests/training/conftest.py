"""What tests of training share."""

from __future__ import annotations

import pytest
import training_survey
from loopback_sdss import serving


@pytest.fixture(scope="session")
def surveys():
    """The module that makes small surveys."""
    return training_survey


@pytest.fixture(scope="session")
def survey_files(tmp_path_factory):
    """Directory of 60 spectra of 30 objects, with ``catalogue.fits``."""
    directory = tmp_path_factory.mktemp("survey") / "spectra"
    training_survey.make_survey(directory, 60)
    return directory


@pytest.fixture
def loopback(survey_files):
    """A server that plays the archive with the files of the small survey."""
    with serving({path.name: path.read_bytes() for path in survey_files.glob("spec-*.fits")}) as server:
        yield server
