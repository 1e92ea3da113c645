"""Synthetic spec-lite files."""

from __future__ import annotations

import numpy as np
import pytest

from specz_cnn import write_spec_lite

N_PIXELS = 300


def spectrum_columns(n=N_PIXELS, seed=0):
    """Columns of a spectrum with a few bad pixels."""
    random = np.random.default_rng(seed)
    columns = {
        "loglam": 3.6 + 1e-4 * np.arange(n),
        "flux": random.normal(2, 1, n),
        "ivar": random.gamma(2, 1, n),
        "and_mask": random.choice(
            [0, 1 << 18, 1 << 23, 1 << 24, -(1 << 31)], n, p=[0.9, 0.02, 0.03, 0.03, 0.02]
        ),
        "or_mask": random.integers(0, 1 << 28, n),
        "wdisp": random.uniform(0.8, 1.2, n),
        "sky": random.normal(5, 1, n),
        "model": np.full(n, 2.0),
    }
    columns["ivar"][3] = 0
    columns["flux"][5] = np.nan
    return columns


CATALOGUE = {
    "plate": 7276,
    "mjd": 57061,
    "fiber": 470,
    "run2d": "v5_13_0",
    "specobjid": 1 << 63 | 12345 << 10,
    "ra": 150.25,
    "dec": -1.5,
    "z": 2.25,
    "z_err": 0.0004,
    "zwarning": 4,
    "spectral_class": "QSO",
    "subclass": "BROADLINE",
}


@pytest.fixture
def columns():
    """Columns of a synthetic spectrum."""
    return spectrum_columns()


@pytest.fixture
def spec_file(tmp_path, columns):
    """A synthetic file of the survey's layout."""
    path = tmp_path / "spec-7276-57061-0470.fits"
    write_spec_lite(path, **columns, **CATALOGUE)
    return path


@pytest.fixture(scope="session")
def spec_bytes(tmp_path_factory):
    """The bytes of a synthetic file."""
    path = tmp_path_factory.mktemp("bytes") / "spec-7276-57061-0470.fits"
    write_spec_lite(path, **spectrum_columns(), **CATALOGUE)
    return path.read_bytes()
