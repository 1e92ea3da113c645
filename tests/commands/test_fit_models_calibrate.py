"""The commands fit, models and calibrate, as they are typed."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from astropy.table import QTable, Table

from specz_cnn import load_model, write_spec_lite
from specz_cnn.cli import main
from specz_cnn.io.grid import ModelGrid
from specz_cnn.models import ModelInfo, RNetE, package_model, registry, save_model
from specz_cnn.training.shards import ShardWriter

STEP = 4e-4 * float(np.log(10))
N_BINS = 600


@pytest.fixture
def weights(tmp_path):
    """Paths of two networks with random weights, as a command takes them."""
    directory = tmp_path / "networks"
    directory.mkdir()
    grid, paths = ModelGrid().to_dict(), []
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        arguments = {"n_bins": N_BINS, "channels": [4], "kernels": [5], "n_templates": 2}
        info = ModelInfo(
            name, f"{name}-1", "RNetE", arguments, grid, bins={"n": N_BINS, "step": STEP}, z_range=(0.0, 0.7)
        )
        paths.append(str(directory / f"{name}.safetensors"))
        save_model(paths[-1], RNetE(**arguments), info)
    return paths


@pytest.fixture
def options(weights):
    return ["--model", weights[0], "--cross-check", weights[1], "--device", "cpu"]


@pytest.fixture
def spectra(tmp_path, monkeypatch):
    """A directory of three files, the current one."""
    rng = np.random.default_rng(2)
    directory = tmp_path / "here" / "spectra"
    directory.mkdir(parents=True)
    for fiber in (1, 2, 3):
        loglam = 3.56 + 1e-4 * np.arange(4500)
        path = directory / f"spec-3586-55181-{fiber:04d}.fits"
        write_spec_lite(
            path, loglam, rng.normal(5, 1, 4500), np.ones(4500), plate=3586, mjd=55181, fiber=fiber
        )
    monkeypatch.chdir(tmp_path / "here")
    return directory


@pytest.mark.parametrize(
    "words", [["spectra"], ["spectra/spec-*.fits"], ["spectra/spec-3586-55181-0002.fits"]]
)
def test_fit_to_a_file(words, spectra, options, capsys):
    assert main(["fit", *words, "-o", "z.ecsv", *options]) == 0
    table = QTable.read("z.ecsv")
    assert len(table) == (1 if "0002" in words[0] else 3)
    assert all(str(path).startswith("spectra/") for path in table["file"])
    out, err = capsys.readouterr()
    assert out == "" and "rows in z.ecsv" in err


def test_fit_a_list_from_standard_input(spectra, options, capsys, monkeypatch):
    text = "\n".join(str(path) for path in sorted(spectra.iterdir()))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"# two lines that do not count\n\n{text}\n"))
    assert main(["fit", "-", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3
    assert "spec-3586-55181-0001.fits" in lines[2]


def test_fit_shows_flags_and_failures(spectra, options, capsys):
    (spectra / "spec-3586-55181-0009.fits").write_bytes(b"nothing")
    (spectra / "list.txt").write_text("spectra/missing.fits\n")
    assert main(["fit", "--list", "spectra/list.txt", *options]) == 1  # nothing measured
    capsys.readouterr()
    assert main(["fit", "spectra", *options]) == 3
    out, err = capsys.readouterr()
    assert out.count("READ_ERROR") == 1
    assert "1 of 4 spectra could not be measured\n" in err and "0009.fits: " in err
    assert main(["fit", "spectra", "-o", "z.csv", *options]) == 3
    assert "see the column error of z.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "spektra"], "no such file or directory: spektra"),
        (["fit", "spektra/*.fits"], "no files match: spektra/*.fits"),
        (["fit", "spektra", "-o", "parts/"], "no such file or directory: spektra"),
        (["fit", "--list", "spektra.txt"], "no such file or directory: spektra.txt"),
        (["inspect", "y.csv", "-o", "page.html"], "no such file or directory: y.csv"),
        (["evaluate", "y.csv", "truth.csv"], "no such file or directory: y.csv"),
        (["plot", "spektrum.fits", "-o", "a.png"], "no such file or directory: spektrum.fits"),
    ],
)
def test_paths_that_do_not_exist(words, message, capsys, monkeypatch):
    monkeypatch.setattr(
        "specz_cnn.redshift.fitter.cached_model", None
    )  # found out before any network is loaded
    assert main(words) == 2
    assert capsys.readouterr().err == f"specz-cnn {words[0]}: error: {message}\n"


def test_standard_output_and_json(spectra, options, capsys):
    assert main(["fit", "spectra", "-o", "-", *options]) == 0
    out, _ = capsys.readouterr()
    assert len(Table.read(out, format="ascii.ecsv")) == 3
    assert main(["fit", "spectra", "-o", "-", "--output-format", "jsonl", *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["fiber"] for line in lines] == [1, 2, 3] and lines[0]["ra"] is None
    assert main(["fit", "spectra", "-o", "z.json", *options]) == 0
    with open("z.json", encoding="utf-8") as file:
        document = json.load(file)
    assert document["rows"] == lines and document["meta"]["model"] == "first-1"


def test_only_a_table_of_the_same_kind_is_replaced(spectra, options, capsys):
    Table({"plate": [1], "my_notes": ["years of work"]}).write("z.csv")
    assert main(["fit", "spectra", "-o", "z.csv", *options]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert "years of work" in (spectra.parent / "z.csv").read_text()
    assert main(["fit", "spectra", "-o", "z.csv", "--overwrite", *options]) == 0
    assert main(["fit", "spectra", "-o", "z.csv", *options]) == 0  # its own earlier result


def test_messages(spectra, options, capsys):
    assert main(["fit", "spectra", "-o", "z.csv", "--quiet", "--log-file", "log.txt", *options]) == 0
    assert capsys.readouterr() == ("", "")
    log = (spectra.parent / "log.txt").read_text()
    assert "INFO specz_cnn.commands.output: 3 rows in z.csv" in log and "exit status 0" in log
    assert main(["--verbose", "fit", "spectra", "-o", "z.csv", *options]) == 0
    assert "exit status 0" in capsys.readouterr().err


def test_all_cores_give_the_same_table(spectra, options):
    assert main(["fit", "spectra", "-o", "one.ecsv", "--workers", "0", *options]) == 0
    assert main(["fit", "spectra", "-o", "two.ecsv", "--workers", "2", *options]) == 0
    one, two = QTable.read("one.ecsv"), QTable.read("two.ecsv")
    assert one.colnames == two.colnames and one.meta == two.meta
    for name in one.colnames:
        np.testing.assert_array_equal(one[name], two[name])


def test_fit_the_example(options, capsys):
    assert main(["fit", "--example", *options]) == 0
    out, err = capsys.readouterr()
    assert "example-spec.fits" in out and "simulated" in err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["spectra", "-o", "z.txt"],
        ["spectra", "-o", "nowhere/z.ecsv"],
        ["spectra", "--resume"],
        ["--example", "-o", "parts/"],
        ["--sdss", "quasar"],
    ],
)
def test_fit_with_wrong_usage(words, spectra, options, capsys):
    assert main(["fit", *words, *options]) == 2
    assert "error" in capsys.readouterr().err


def test_fit_with_an_unknown_model(spectra, capsys):
    assert main(["fit", "spectra", "--model", "rnet-q"]) == 1
    assert "no model 'rnet-q'" in capsys.readouterr().err


def test_fit_downloads(spectra, options, monkeypatch, capsys):
    """Identifiers become paths; one that does not come is a row all the same."""
    asked = []

    def download_spectra(ids, directory):
        asked.extend(ids)
        paths = [str(spectra / "spec-3586-55181-0001.fits"), str(spectra / "spec-3586-55181-0500.fits")]
        rows = {"plate": [3586, 3586], "mjd": [55181, 55181], "fiber": [1, 500], "path": paths}
        return Table(rows | {"error": ["", "no such spectrum"]})

    monkeypatch.setattr("specz_cnn.sdss.download_spectra", download_spectra)
    assert main(["fit", *options, "--sdss", "3586-55181-1", "3586-55181-500"]) == 3
    out, err = capsys.readouterr()
    assert [spec.fiber for spec in asked] == [1, 500]
    assert "READ_ERROR" in out and "no such spectrum" in err


@pytest.fixture
def packaged(weights, tmp_path, monkeypatch):
    directory = tmp_path / "packaged"
    monkeypatch.setattr(registry, "WEIGHTS_DIRECTORY", directory)
    for path in weights:
        package_model(path, directory=directory)
    return directory


def test_models(packaged, capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "first-1" in out and "second-1" in out and "RNetE" in out
    assert main(["models", "first"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("first (first-1), RNetE") and "MB, " in out and "parameters" in out
    assert main(["models", "first", "--full"]) == 0
    assert json.loads(capsys.readouterr().out)["tag"] == "first-1"


def test_packaged_models_are_described(capsys):
    assert main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    place = header.index("description")
    assert rows and all(len(row) > place + 10 for row in rows)
    assert main(["models", "rnet-e"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and [line for line in lines if "how good" in line and "%" in line]


def test_models_verified(packaged, capsys):
    assert main(["models", "--verify"]) == 0
    assert "first: ok" in capsys.readouterr().out
    path = next(packaged.glob("second-*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert main(["models", "--verify"]) == 1
    out, err = capsys.readouterr()
    assert "first: ok" in out and "SHA-256" in err


def test_no_models(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "WEIGHTS_DIRECTORY", tmp_path)
    assert main(["models"]) == 0
    assert "no models" in capsys.readouterr().err


@pytest.fixture
def shards(tmp_path):
    """A directory of labelled spectra."""
    rng = np.random.default_rng(3)
    writer = ShardWriter(tmp_path / "shards", ModelGrid())
    for number in range(120):
        label = (0, 0, number, rng.uniform(0, 0.7), number % 4 > 0, 5.0, 1.0)
        writer.add(rng.normal(5, 1, 1212).astype(np.float32), np.ones(1212, np.float32), label)
    writer.flush()
    return tmp_path / "shards"


def test_calibrate(weights, shards, packaged, tmp_path, capsys):
    output = tmp_path / "calibrated.safetensors"
    words = [
        weights[0],
        f"{shards}:1:0.5",
        "--check",
        weights[1],
        "-o",
        str(output),
        "--tag",
        "first-2",
        "--package",
    ]
    assert main(["calibrate", *words, "--device", "cpu"]) == 0
    assert "wrong" in capsys.readouterr().out
    info = load_model(output).info
    assert info.tag == "first-2"
    assert info.calibration["confidence"]["check"] == "second"
    assert info.calibration["report"]["n_quasars"] == 90
    assert info.calibration["report"]["data"] == ["shards:1:0.5"]
    assert load_model("first").info.tag == "first-2"


@pytest.mark.parametrize("data", ["nowhere", "{}:x", "{}:1:2:3:4", "{}:-1"])
def test_calibrate_with_wrong_usage(data, weights, shards, tmp_path, capsys):
    assert main(["calibrate", weights[0], data.format(shards), "-o", str(tmp_path / "c.safetensors")]) == 2
    assert "error" in capsys.readouterr().err
