"""The commands that README and documentation show: they parse, and those of the tutorial run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from astropy.table import Table

from specz_cnn import cli

_ROOT = Path(__file__).resolve().parents[1]
_PAGES = [_ROOT / "README.rst", *sorted((_ROOT / "docs").glob("*.rst"))]

# A prompt, and what follows it up to the end of the line.
_PROMPT = re.compile(r"^\s+\$ (.*)$", re.MULTILINE)


def commands(path):
    """Arguments of each ``specz-cnn`` that a page shows, as lists of words."""
    found = []
    for line in _PROMPT.findall(path.read_text(encoding="utf-8")):
        words = shlex.split(line.partition("   ")[0])
        while "specz-cnn" in words:
            words = words[words.index("specz-cnn") + 1 :]
            end = next((i for i, word in enumerate(words) if word in ("|", "&&", ">")), len(words))
            found.append(words[:end])
    return found


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_commands_parse(path):
    for words in commands(path):
        name = next((word for word in words if not word.startswith("-")), None)
        assert name is None or name in cli.COMMANDS
        if "--help" not in words:
            cli._make_parser(name).parse_args(words)


def test_there_are_commands():
    assert len(commands(_ROOT / "docs" / "tutorial.rst")) >= 4
    assert ["fit", "--example"] in commands(_ROOT / "README.rst")


def test_tutorial_commands_run(tmp_path, monkeypatch, capsys):
    from specz_cnn.simulate.example import write_example

    monkeypatch.chdir(tmp_path)
    Path("spectra").mkdir()
    labels = Table(
        names=("plate", "mjd", "fiber", "z", "cls", "trust"), dtype=(int, int, int, float, "U3", int)
    )
    for fiber, z in ((1, 0.8), (2, 2.4), (12, 3.1)):
        write_example(f"spectra/spec-0001-50000-{fiber:04d}.fits", z=z, snr=10, seed=fiber, fiber=fiber)
        labels.add_row((1, 50000, fiber, z, "QSO", 3))
    labels.write("truth.csv")
    for words in commands(_ROOT / "docs" / "tutorial.rst"):
        assert cli.main(words) == 0, words
    table = Table.read("z.ecsv")
    assert abs(table["z"] - labels["z"]).max() < 0.02
    assert "No outliers" in capsys.readouterr().out
    made = {"z.ecsv", "evaluation", "pictures/spec-0001-50000-0012.png", "inspect.html"}
    assert not [name for name in made if not Path(name).exists()]
