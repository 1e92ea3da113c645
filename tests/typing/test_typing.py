"""The package promises types (``py.typed``): those of its face are complete, and a type checker agrees with them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import specz_cnn
from specz_cnn import evaluate, io, models, report, results, sdss, survey

ROOT = Path(__file__).resolve().parents[2]


def functions():
    """Public functions, and public methods of public classes, of the names that people import."""
    for module in (specz_cnn, io, models, sdss, results, survey, report, evaluate):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield f"{module.__name__}.{name}", thing
            elif inspect.isclass(thing) and thing.__module__.startswith("specz_cnn.") and not _network(thing):
                for key, value in vars(thing).items():
                    function = getattr(value, "fget", None) or getattr(value, "func", None) or value
                    function = getattr(function, "__func__", function)
                    if inspect.isfunction(function) and not key.startswith("_") and key not in _INHERITED:
                        yield f"{module.__name__}.{name}.{key}", function


#: Methods that enum makes.
_INHERITED = {"bit_count", "bit_length"}


def _network(thing):
    """Arguments of networks are those of torch's modules, which nobody calls with types in mind."""
    from torch import nn

    return issubclass(thing, nn.Module)


FACE = dict(functions())


def test_the_face_is_seen():
    assert len(FACE) > 60
    assert {"specz_cnn.fit_redshift_cnn", "specz_cnn.results.RedshiftResult.z_interval"} <= FACE.keys()


@pytest.mark.parametrize("name", sorted(FACE))
def test_public_functions_are_annotated(name):
    signature = inspect.signature(FACE[name])
    bare = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    assert not bare
    assert signature.return_annotation is not signature.empty


def check(path, cache):
    """Output of the type checker for one file."""
    pytest.importorskip("mypy")
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        ROOT / "pyproject.toml",
        "--cache-dir",
        cache,
        path,
    ]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


def test_the_script_of_a_user(cache):
    status, output = check(ROOT / "tests" / "typing" / "user_script.py", cache)
    assert status == 0, output


def test_mistakes_of_a_user_are_found(cache, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import specz_cnn\n"
        "specz_cnn.fit_redshift_cnn('a.fits', model=3)\n"
        "specz_cnn.read_arrays('a.fits', mask='harsh')\n"
        "result = specz_cnn.fit_redshift_cnn('a.fits')\n"
        "result.z_interval('68 %')\n"
        "result.redshift\n"
        "specz_cnn.fit_redshift('a.fits')\n"
    )
    status, output = check(wrong, cache)
    lines = [line.split(":")[1] for line in output.splitlines() if "error:" in line]
    assert status == 1
    assert lines == ["2", "3", "5", "6", "7"], output
