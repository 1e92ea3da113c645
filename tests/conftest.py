"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# One thread in this process and in those that tests start, as worker processes have: with another number sums are taken in another
# order, which on some processors shows in the last digit, and tests ask for the same bytes.  Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines are slow at times; a test must not fail for that.
settings.register_profile("specz_cnn", deadline=None, max_examples=50)
settings.load_profile("specz_cnn")

# Processes that a shell starts in the background ignore SIGINT, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def denormal_numbers():
    """Commands that train and calibrate flush denormal numbers to zero; other tests must not notice."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def data_dir():
    """Directory of real spectra and templates, not part of the repository.

    The environment variable ``SPECZ_CNN_TEST_DATA`` names it; otherwise it is ``../shared/data`` next to the checkout.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("SPECZ_CNN_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip("no directory of real test data (set SPECZ_CNN_TEST_DATA)")
    return path


@pytest.fixture(scope="session")
def spectra_dir(data_dir):
    """Directory of real SDSS files, ``spec-PLATE-MJD-FIBER.fits``."""
    return data_dir / "spectra"


@pytest.fixture(scope="session")
def spectrum_paths(spectra_dir):
    """Paths of all real SDSS files, sorted."""
    return sorted(spectra_dir.glob("spec-*.fits"))


# What a machine may lack: what tests of it have as a fixture, and how the last lines call them.
_COUNTED = {"data_dir": "tests on real data", "driver": "tests in a browser"}


def pytest_collection_modifyitems(items):
    """Mark tests that need what a machine may lack, for the count at the end."""
    for item in items:
        for fixture in _COUNTED.keys() & set(getattr(item, "fixturenames", ())):
            item.user_properties.append(("needs", fixture))


def pytest_terminal_summary(terminalreporter):
    """Say how many tests saw real data and a browser: a run without them passes as well, and proves less."""

    def count(fixture, *outcomes):
        reports = (report for outcome in outcomes for report in terminalreporter.stats.get(outcome, ()))
        return sum(("needs", fixture) in getattr(report, "user_properties", ()) for report in reports)

    for fixture, name in _COUNTED.items():
        ran, skipped = count(fixture, "passed", "failed", "xfailed", "error"), count(fixture, "skipped")
        if ran or skipped:
            terminalreporter.write_line(f"{name}: {ran} ran, {skipped} were skipped")
