"""A made-up survey: labels and results with known properties."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn.evaluate import SPEED_OF_LIGHT


@pytest.fixture(scope="session")
def survey():
    """Labels and results of 300 quasars, 60 galaxies, 40 stars; the first object was observed ten times."""
    rng = np.random.default_rng(20)
    n = 400
    cls = np.array(["QSO"] * 300 + ["GALAXY"] * 60 + ["STAR"] * 40)
    z = np.where(
        cls == "QSO", rng.uniform(0.1, 4.5, n), np.where(cls == "GALAXY", rng.uniform(0, 0.9, n), 0.0)
    )
    group = np.arange(n)
    group[:10] = 0
    labels = Table(
        {
            "plate": np.full(n, 3586),
            "mjd": np.full(n, 55181),
            "fiber": np.arange(n) + 1,
            "z": z,
            "cls": cls,
            "trust": np.where(np.arange(n) % 10 == 9, 1, 2),
            "group": group,
            "z_pipe": z + (1 + z) * rng.normal(100, 400, n) / SPEED_OF_LIGHT,
            "survey": np.where(np.arange(n) < 200, "BOSS", "SDSS"),
        }
    )
    z_err = (1 + z) * 200 / SPEED_OF_LIGHT
    measured = z + z_err * rng.normal(size=n)
    flags = np.zeros(n, int)
    # Spectrum 20 is wrong and says so, 30 is wrong unnoticed with a right second peak, 40 has no redshift.
    measured[[20, 30]], flags[20], measured[40], flags[40] = [6.5, 6.0], 1 << 24, np.nan, 1 << 9
    second = np.full(n, 1.0)
    second[30] = z[30]
    confidence = np.where(cls == "QSO", 0.995, 0.04)
    confidence[20], confidence[40] = 0.2, np.nan
    results = Table(
        {
            "file": [f"some/where/spec-3586-55181-{fiber:04d}.fits" for fiber in labels["fiber"]],
            "plate": labels["plate"],
            "mjd": labels["mjd"],
            "fiber": labels["fiber"],
            "z": measured,
            "z_err": z_err,
            "z_lo": measured - z_err,
            "z_hi": measured + z_err,
            "confidence": confidence,
            "p_qso": np.where(cls == "QSO", 0.97, 0.04),
            "z_second": second,
            "z_check": z,
            "snr": rng.uniform(0.5, 20, n),
            "flags": flags,
            "error": np.where(flags == 1 << 9, "no data", ""),
        }
    )
    # One galaxy passes for a quasar.
    results["p_qso"][310] = 0.9
    return labels, results
