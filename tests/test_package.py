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


_MODULES = "print(*{name.partition('.')[0] for name in sys.modules})"


def test_import_brings_nothing_heavy():
    """What the package needs is imported when it is needed."""
    found = set(run_python(f"import sys, specz_cnn; {_MODULES}"))
    assert "specz_cnn" in found
    assert not found & {"numpy", "astropy", "specutils", "torch", "astroquery", "requests", "safetensors"}


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["fit", "--help"], ["search", "--help"], ["models"]]
)
def test_commands_that_read_nothing_start_at_once(words):
    """They import neither what reads spectra nor what measures them: that took 2.9 s, and now takes a tenth of it."""
    code = f"import sys; sys.argv = ['specz-cnn', *{words}]; from specz_cnn.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    found = set(run_python(code + _MODULES.replace("print(*", "print('imported', *")))
    assert not found & {"astropy", "specutils", "torch", "requests", "scipy", "matplotlib"}


def test_a_spectrum_of_sdss_is_measured_without_specutils():
    """Its import is half of a cold start, and a quarter of scipy is a tenth; what comes later has our loaders all the same."""
    code = "import sys; from specz_cnn.cli import main; main(['fit', '--example', '--quiet'])\n"
    code += _MODULES.replace("print(*", "print('imported', *")
    code += "\nprint('scipy.interpolate' in sys.modules, 'end')\n"
    code += "import specutils; from astropy.io import registry\n"
    code += "print(hasattr(registry.get_reader('SDSS-III/IV spec', specutils.Spectrum), 'notes_masks'))"
    words = run_python(code)
    found = set(words[words.index("imported") : words.index("end")])
    assert "torch" in found and not found & {"specutils", "gwcs", "ndcube", "dask", "matplotlib"}
    assert words[words.index("end") - 1] == "False" and words[-1] == "True"


_FORMATS = (
    "from astropy.io import registry\n"
    "print('SDSS_spec-lite' in [f.replace(' ', '_') for f in registry.get_formats(specutils.Spectrum)['Format']])"
)


@pytest.mark.parametrize(
    "code",
    [
        "import specz_cnn, specutils",
        "import specutils, specz_cnn",
        "import specz_cnn, specutils.io.registers",
        "import specz_cnn, importlib.util; importlib.util.find_spec('specutils'); import specutils",
        "import specz_cnn; specz_cnn.read_spec_lite; import specutils",
    ],
)
def test_import_registers_the_loader(code):
    assert run_python(f"{code}\n{_FORMATS}") == ["True"]


def test_import_of_specutils_is_what_it_would_be_without_us():
    code = (
        "import specutils, sys, inspect; print(type(specutils.__spec__.loader).__name__, len(sys.meta_path), "
    )
    code += "*sorted(vars(specutils.__spec__.loader)), len(inspect.getsource(specutils)))"
    assert run_python(f"import specz_cnn; {code}") == run_python(code)


def test_python_m_runs_the_commands():
    done = subprocess.run(
        [sys.executable, "-m", "specz_cnn", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["specz-cnn", specz_cnn.__version__]


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
