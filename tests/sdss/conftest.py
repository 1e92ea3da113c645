"""A loopback server that plays SDSS, with real spectra where there are any and synthetic ones otherwise."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from specz_cnn import conf, write_spec_lite
from specz_cnn.sdss import SpecID, retry, skyserver

# The first row of a search for BOSS quasars of 2.8 < z < 3.0, as SkyServer lists it.
FIRST_ROW = {
    "specObjID": 4037498043582664704,
    "plate": 3586,
    "mjd": 55181,
    "fiberID": 76,
    "run2d": "v5_13_0",
    "z": 2.82484,
}


def load_server_module():
    """The module server.py beside this file, imported under a name of its own."""
    name = "specz_cnn_loopback_sdss"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("server.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def spec_obj(number, **values):
    """A row of SpecObjAll: every fourth is a legacy spectrum, every fifth no primary one, plates pass 8192."""
    legacy = number % 4 == 0
    spec_id = SpecID(
        plate=266 + number if legacy else 3586 + 37 * number,
        mjd=55181 + number,
        fiber=1 + number % 1000,
        run2d="26" if legacy else "v5_13_0",
    )
    row = {
        "specObjID": spec_id.specobjid,
        "plate": spec_id.plate,
        "mjd": spec_id.mjd,
        "fiberID": spec_id.fiber,
        "run2d": spec_id.run2d,
        "ra": (150.0 + 0.01 * number) % 360,
        "dec": 2.0 + 0.001 * number,
        "z": 2.7 + 0.001 * number,
        "zErr": 0.0003,
        "class": "GALAXY" if number % 7 == 0 else "QSO",
        "subClass": "BROADLINE" if number % 3 else "",
        "zWarning": 4 if number % 6 == 0 else 0,
        "snMedian": 0.5 + 0.01 * number,
        "instrument": "SDSS" if legacy else "BOSS",
        "survey": "sdss" if legacy else "boss",
        "sciencePrimary": int(number % 5 != 0),
    }
    return row | values


@pytest.fixture(scope="session")
def spec_rows():
    """Rows of SpecObjAll for the loopback SkyServer."""
    return [spec_obj(1, **FIRST_ROW), *(spec_obj(number) for number in range(2, 300))]


@pytest.fixture(scope="session")
def archive_files(tmp_path_factory):
    """300 spec-lite files, name: content."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    real = sorted(Path(os.environ.get("SPECZ_CNN_TEST_DATA", default), "spectra").glob("spec-*.fits"))
    files = {path.name: path.read_bytes() for path in itertools.islice(real, 300)}
    directory = tmp_path_factory.mktemp("archive")
    for number in range(300 - len(files)):
        path = directory / f"spec-{7000 + number // 100}-57061-{1 + number % 100:04d}.fits"
        loglam = 3.6 + 1e-4 * np.arange(200)
        write_spec_lite(path, loglam, np.full(200, float(number)), np.ones(200))
        files[path.name] = path.read_bytes()
    return files


@pytest.fixture
def sdss(spec_rows, archive_files, tmp_path, monkeypatch):
    """The loopback server, with the settings pointing to it and no patience."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.02)
    skyserver._recent.clear()
    with (
        load_server_module().serving(archive_files, spec_rows) as server,
        conf.set_temp("sas_baseurl", f"{server.url}/sas"),
        conf.set_temp("skyserver_baseurl", server.url),
        conf.set_temp("timeout", 1.0),
        conf.set_temp("retries", 2),
        conf.set_temp("cache_dir", str(tmp_path / "cache")),
    ):
        yield server


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Settings that point to a port where nothing listens."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.01)
    skyserver._recent.clear()
    with (
        conf.set_temp("sas_baseurl", "http://127.0.0.1:9/sas"),
        conf.set_temp("skyserver_baseurl", "http://127.0.0.1:9"),
        conf.set_temp("retries", 1),
        conf.set_temp("cache_dir", str(tmp_path / "cache")),
    ):
        yield
