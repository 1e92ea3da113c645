"""What importing the package does, and what it offers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest

import specz_cnn
from specz_cnn.config import cache_directory, conf


def run_python(code, **environment):
    """Words that a script prints in a fresh interpreter."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return done.stdout.split()


def test_import_adds_no_heavy_package_to_specutils():
    modules = "print(*{name.partition('.')[0] for name in sys.modules})"
    before = set(run_python(f"import sys, specutils; {modules}"))
    after = set(run_python(f"import sys, specz_cnn; {modules}"))
    assert after - before == {"specz_cnn"}
    assert not {"torch", "astroquery", "requests", "safetensors"} & after


def test_import_registers_the_loader():
    assert run_python(
        "import specz_cnn\n"
        "from astropy.io import registry\n"
        "from specutils import Spectrum\n"
        "print('SDSS_spec-lite' in [f.replace(' ', '_') for f in registry.get_formats(Spectrum)['Format']])"
    ) == ["True"]


@pytest.mark.parametrize("name", specz_cnn.__all__)
def test_public_names_exist(name):
    assert getattr(specz_cnn, name) is not None
    assert name in dir(specz_cnn)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        specz_cnn.nonsense  # noqa: B018


def test_metadata_agree_with_the_package():
    assert metadata("specz-cnn")["Version"] == specz_cnn.__version__
    (script,) = entry_points(group="console_scripts", name="specz-cnn")
    assert script.value == "specz_cnn.cli:main"
    assert (Path(specz_cnn.__file__).parent / "py.typed").is_file()


def test_settings_are_read_at_call_time(tmp_path):
    assert conf.sas_baseurl == "https://data.sdss.org/sas"
    assert conf.data_release == 16
    with conf.set_temp("cache_dir", str(tmp_path)):
        assert cache_directory() == tmp_path
    assert cache_directory().name == "specz_cnn"


def test_settings_have_their_own_file(tmp_path):
    code = """
from pathlib import Path
from astropy.config.configuration import get_config_filename
from specz_cnn import conf
path = Path(get_config_filename("specz_cnn", "specz_cnn"))
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text("retries = 9")
conf.reload()
print(path.name, conf.retries, conf.connections)
"""
    assert run_python(code, HOME=str(tmp_path)) == ["specz_cnn.cfg", "9", "8"]


@pytest.mark.parametrize(("name", "value"), [("retries", -1), ("connections", 0), ("timeout", "soon")])
def test_settings_are_checked(name, value):
    with pytest.raises(TypeError):
        setattr(conf, name, value)
