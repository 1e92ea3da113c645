"""The frame of the command line; each command has its own tests."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

from specz_cnn import __version__, cli
from specz_cnn.commands import UsageError


@pytest.fixture
def command(monkeypatch):
    """A command ``greet`` whose outcome a test can choose."""
    module = ModuleType("specz_cnn.commands.greet")
    module.outcome = 0

    def run(args):
        if isinstance(module.outcome, Exception):
            raise module.outcome
        print(f"hello {args.name}")
        return module.outcome

    module.add_arguments = lambda parser: parser.add_argument("name")
    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "greet", "say hello")
    return module


def usage(argv):
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    return caught.value.code


def test_run_a_command(command, capsys):
    assert cli.main(["greet", "world"]) == 0
    assert capsys.readouterr().out == "hello world\n"
    command.outcome = 1
    assert cli.main(["greet", "world"]) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("no such thing"), 2),
        (ValueError("no such thing"), 1),
        (FileNotFoundError("no such thing"), 1),
    ],
)
def test_errors_are_one_line_unless_debugging(command, capsys, error, status):
    command.outcome = error
    assert cli.main(["greet", "world"]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "specz-cnn greet: error: no such thing\n"
    with pytest.raises(type(error)):
        cli.main(["--debug", "greet", "world"])


def test_interrupt(command, capsys):
    def run(args):
        raise KeyboardInterrupt

    command.run = run
    assert cli.main(["greet", "world"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_version_and_help(capsys):
    assert usage(["--version"]) == 0
    assert capsys.readouterr().out == f"specz-cnn {__version__}\n"
    assert usage(["--help"]) == 0
    output = capsys.readouterr().out
    for name, summary in cli.COMMANDS.items():
        assert name in output and summary.split(",")[0].split()[0] in output


@pytest.mark.parametrize("argv", [[], ["dance"], ["fit", "--no-such-option"], ["greet"]])
def test_wrong_usage(argv, command, capsys):
    assert usage(argv) == 2
    assert "usage: specz-cnn" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_module_and_help(name, capsys):
    module = import_module(f"specz_cnn.commands.{name}")
    assert callable(module.add_arguments) and callable(module.run)
    assert usage([name, "--help"]) == 0
    assert f"usage: specz-cnn {name}" in capsys.readouterr().out


def test_help_imports_no_network():
    code = "import sys, specz_cnn.cli\ntry: specz_cnn.cli.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m specz_cnn.cli --help | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: specz-cnn") and done.stderr == ""
