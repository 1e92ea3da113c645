"""``specz-cnn evaluate``."""

from __future__ import annotations

import pytest

from specz_cnn.cli import main


@pytest.fixture
def files(survey, tmp_path):
    labels, results = survey
    paths = tmp_path / "z.ecsv", tmp_path / "labels.csv"
    results.write(paths[0], format="ascii.ecsv")
    labels[:350].write(paths[1], format="ascii.csv")
    return [str(path) for path in paths]


def test_text_to_stdout_messages_to_stderr(files, capsys):
    assert main(["evaluate", *files]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["Redshifts", "Flags", "Errors", "Classes", "Wrong"]
    assert (
        "3000 km/s" in lines[0] and "1 of them wrong" in lines[1] and "as large as they should be" in lines[2]
    )
    assert "50 results have no label" in err and "--full" in err
    assert main(["evaluate", *files, "--full", "--quiet"]) == 0
    full, err = capsys.readouterr()
    assert full.startswith("Evaluation of z.ecsv against labels.csv") and out in full and err == ""
    assert max(map(len, full.splitlines())) <= 100


def test_output_directory(files, tmp_path, capsys):
    directory = tmp_path / "new" / "evaluation"
    arguments = [
        "-o",
        str(directory),
        "--split",
        "validation",
        "--figures",
        "none",
        "--where",
        "survey=BOSS,SDSS",
    ]
    assert main(["evaluate", *files, *arguments]) == 0
    out, err = capsys.readouterr()
    assert "the validation half of the labels" in (directory / "summary.txt").read_text()
    assert out in (directory / "summary.txt").read_text()
    assert not list(directory.glob("*.png"))
    assert "wrote 8 files" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "survey"], "--where takes COLUMN=VALUE"),
        (["--where", "survey=DESI"], "no label fulfils"),
        (["--truth", "z_best"], "no column 'z_best'"),
        (["--min-trust", "3"], "leaves no quasar"),
    ],
)
def test_mistakes_are_explained(files, capsys, arguments, message):
    assert main(["evaluate", *files, *arguments]) != 0
    assert message in capsys.readouterr().err


def test_missing_file(files, capsys):
    assert main(["evaluate", files[0], "nowhere.csv"]) == 2
    assert "no such file or directory: nowhere.csv" in capsys.readouterr().err
