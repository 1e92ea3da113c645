"""Whatever README and documentation show is run as a reader would copy it: in order, in a directory of its own.

Nothing that a page hides takes part. What a reader has of his own, spectra and tables, is laid out before; what is not run
stands in the list below, with the reason.
"""

from __future__ import annotations

import contextlib
import doctest
import glob
import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import page_blocks
import pytest
from astropy.table import Table
from pytest_doctestplus.output_checker import REMOTE_DATA, OutputChecker

from specz_cnn import cli, conf
from specz_cnn.simulate.parametric import write_example

_ROOT = Path(__file__).resolve().parents[1]
_PAGES = [_ROOT / "README.rst", *sorted((_ROOT / "docs").glob("*.rst"))]
_OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.register_optionflag("FLOAT_CMP")

#: Commands that are not run: a pattern, and why not.
_NOT_RUN = {
    r"python3 -m venv|\. .venv|(uv )?pip install": "installs the package; .ci/run and test_sdist.py do",
    r"pytest|ruff|mypy|sphinx-build": "what .ci/run does",
    r"specz-cnn search|specz-cnn download \S+ -d|specz-cnn download quasars.ecsv$|specz-cnn download -": "network",
    r"wget|rsync|specz-cnn fit https:|specz-cnn templates DATA": "network",
    r"python benchmarks/|specz-cnn .*\bDATA\b|specz-cnn simulate --data": "needs templates and real spectra",
    r"specz-cnn (train|calibrate)|torchrun": "takes from minutes to days",
    r"specz-cnn (fit|compare) .*run/|specz-cnn fit .*mine.safetensors": "needs weights from such a training",
    r"specz-cnn compare .*weights/": "needs what is in the source repository only",
    r"specz-cnn fit sim28|specz-cnn evaluate z28|specz-cnn evaluate .*test.ecsv": "needs what a command not run here leaves",
    r"specz-cnn simulate -n": "takes a minute",
    r".*DR16Q_v4.fits": "needs the catalogue, 2 GB",
    r"specz-cnn fit (coadd-|lamost/|spectrum.txt)": "needs files of other surveys; tests/io has such",
    r"specz-cnn compare --labels .*redrock": "needs tables of other programs",
    r"specz-cnn inspect --merge": "needs the work of two inspectors; test_verdicts.py has it",
    r"specz-cnn fit (/data|--list|-)|find /data|dask": "starts processes on a mirror of the archive; tests/survey does",
}

#: Blocks of Python that are not run: how they begin, and why not. Their names must be defined all the same.
_PYTHON_NOT_RUN = {
    "from dask.distributed import Client": "needs a cluster",
}

#: What a reader has before a page begins.
_GIVEN = {
    "README": ["spectra"],
    "experiment": ["spectra", "z.ecsv"],
    "evaluation": ["z.ecsv", "labels.csv"],
    "command_line": ["spectra"],
    "inspection": ["spectra", "spec-3586-55181-0076.fits"],
    "sdss": ["quasars.ecsv"],
}


def lay_out(names):
    """Files that a reader has."""
    for name in names:
        if name == "spectra":
            Path(name).mkdir()
            for fiber in (1, 2):
                write_example(
                    f"spectra/spec-0001-50000-{fiber:04d}.fits", z=1 + fiber, seed=fiber, fiber=fiber
                )
        elif name.endswith(".fits"):
            write_example(name, seed=1)
        else:
            plate, mjd, run2d = (3586, 55181, "v5_13_0") if name == "quasars.ecsv" else (1, 50000, "")
            table = Table({"plate": [plate] * 2, "mjd": [mjd] * 2, "fiber": [1, 2], "z": [2.0, 3.0]})
            table["file"] = [f"spec-{plate:04d}-{mjd}-{fiber:04d}.fits" for fiber in table["fiber"]]
            table["run2d"], table["cls"], table["z_err"] = run2d, "QSO", 0.001
            table.write(name)


class Page:
    """A reader at a page: one interpreter, one terminal, one directory."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys
        self.names = {"__name__": "reader"}
        self.known = set()

    def doctest(self, block):
        test = doctest.DocTestParser().get_doctest(block.text, {}, self.path.name, str(self.path), block.line)
        for example in test.examples:
            if block.skipped or example.options.get(REMOTE_DATA):
                example.options[doctest.SKIP] = True
            self.check_names(example.source, block)
        # One dictionary for the whole page: a copy would hide from functions what comes later.
        test.globs = self.names
        said = []
        runner = doctest.DocTestRunner(checker=OutputChecker(), optionflags=_OPTIONS, verbose=False)
        failed, _ = runner.run(test, out=said.append, clear_globs=False)
        assert not failed, "".join(said)
        self.learn()

    def python(self, block):
        if any(block.text.startswith(beginning) for beginning in _PYTHON_NOT_RUN):
            self.check_names(block.text, block)
            return
        exec(compile(block.text, f"{self.path.name}:{block.line + 1}", "exec"), self.names)  # noqa: S102
        self.learn()

    def console(self, block):
        for line, shown in page_blocks.commands_of(block.text):
            if any(re.match(pattern, line) for pattern in _NOT_RUN) and "&&" not in line:
                continue
            for command in line.split(" && "):
                if any(re.match(pattern, command) for pattern in _NOT_RUN):
                    continue
                self.run(command, shown)

    def run(self, command, shown):
        """A command as the shell would run it; what it prints is what the page shows, if it shows something."""
        words = shlex.split(command)
        words = [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else [word])]
        if words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return
        assert words[0] == "specz-cnn", f"{self.path.name}: {command}: neither run nor in the list"
        self.capsys.readouterr()
        status = cli.main(words[1:])
        out, err = self.capsys.readouterr()
        # Of a command that fails the page shows why.
        assert status == 0 or "error: " in shown, f"{self.path.name}: {command}: {err}"
        if shown:
            assert_alike(out or err, shown)

    def check_names(self, code, block):
        missing = page_blocks.undefined_names(code, self.known)
        assert not missing, f"{self.path.name}:{block.line + 1}: nothing has defined {missing}"

    def learn(self):
        self.known |= set(self.names)


def assert_alike(out, shown):
    """The same words, and numbers to a per cent: other processors give other last digits."""
    got, expected = out.split(), shown.split()
    assert len(got) == len(expected), out
    for a, b in zip(got, expected, strict=True):
        try:
            assert float(a) == pytest.approx(float(b), rel=0.01), out
        except ValueError:
            assert a == b or set(a) == set(b) == {"-"}, out


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_page(path, tmp_path, monkeypatch, capsys):
    blocks = page_blocks.blocks_of(path.read_text(encoding="utf-8"))
    kinds = {"doctest", "python", "console"}
    if not kinds & {block.kind for block in blocks}:
        pytest.skip("shows nothing that can be run")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    lay_out(_GIVEN.get(path.stem, []))
    page = Page(path, capsys)
    with contextlib.ExitStack() as stack:
        stack.callback(conf.reset)
        stack.callback(plt.close, "all")
        for block in blocks:
            if block.kind in kinds:
                getattr(page, block.kind)(block)


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_nothing_is_hidden(path):
    """Set-ups that a reader does not see make pages pass that nobody can follow."""
    assert [b for b in page_blocks.blocks_of(path.read_text(encoding="utf-8")) if b.kind == "hidden"] == []


def test_what_is_not_run_is_still_shown():
    blocks = [b for path in _PAGES for b in page_blocks.blocks_of(path.read_text(encoding="utf-8"))]
    commands = [
        part
        for block in blocks
        if block.kind == "console"
        for line, _ in page_blocks.commands_of(block.text)
        for part in [line, *line.split(" && ")]
    ]
    assert not [pattern for pattern in _NOT_RUN if not any(re.match(pattern, line) for line in commands)]
    python = [block.text for block in blocks if block.kind == "python"]
    assert not [start for start in _PYTHON_NOT_RUN if not any(text.startswith(start) for text in python)]


def test_commands_parse():
    """Also those that are not run."""
    for path in _PAGES:
        for block in page_blocks.blocks_of(path.read_text(encoding="utf-8")):
            for line, _ in page_blocks.commands_of(block.text) if block.kind == "console" else ():
                words = shlex.split(line)
                while "specz-cnn" in words:
                    words = words[words.index("specz-cnn") + 1 :]
                    end = next((i for i, word in enumerate(words) if word in ("|", "&&", ">")), len(words))
                    name = next((word for word in words[:end] if not word.startswith("-")), None)
                    assert name is None or name in cli.COMMANDS
                    if "--help" not in words[:end]:
                        cli._make_parser(name).parse_args(words[:end])


def test_readme_fits_the_example_at_once():
    blocks = page_blocks.blocks_of((_ROOT / "README.rst").read_text(encoding="utf-8"))
    assert any("specz-cnn fit --example" in block.text for block in blocks if block.kind == "console")


def test_a_name_that_nobody_defined_is_noticed():
    known = {"search"}
    assert page_blocks.undefined_names("found = search(positions)", known) == ["positions"]
    assert page_blocks.undefined_names("len(found)", known) == []


def test_blocks_of_a_page():
    page = """\
Text::

    python benchmarks/x.py

.. testsetup::

   >>> import os

>>> 1 + 1
2

.. plot::
   :include-source:

   draw()

.. doctest-skip::

   >>> missing
"""
    found = [(block.kind, block.text, block.skipped) for block in page_blocks.blocks_of(page)]
    assert found == [
        ("console", "$ python benchmarks/x.py\n", ""),
        ("hidden", ">>> import os\n", ""),
        ("doctest", ">>> 1 + 1\n2\n", ""),
        ("python", "draw()\n", ""),
        ("doctest", ">>> missing\n", "doctest-skip"),
    ]
