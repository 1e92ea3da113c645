"""From a catalogue to calibrated weights: every stage, resumed after a kill, from an archive with faults."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from safetensors.torch import load_file

from specz_cnn import conf, load_model
from specz_cnn.cli import main
from specz_cnn.sdss import retry
from specz_cnn.training.recipe import read_recipe
from specz_cnn.training.shards import read_shards
from specz_cnn.training.survey_training import PARTS, SurveyTraining

# Imports once; then each line, the file for what is said and the words of a command, is a process of its own, whose number
# is printed when it starts and whose status when it has ended.
LAUNCHER = """
import json, os, sys
import specz_cnn.training.survey_training as survey_training
from specz_cnn import conf
from specz_cnn.cli import main
survey_training._SIMULATED_CALIBRATION = 200
conf.sas_baseurl, conf.default_cross_check = sys.argv[1], ""
for line in sys.stdin:
    said, words = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.exit(main(words))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Launched:
    """A command that runs, one at a time."""

    def __init__(self, launcher, said, words):
        self._launcher, self._said = launcher, said
        launcher.stdin.write(json.dumps([str(said), words]).encode() + b"\n")
        self.pid = int(launcher.stdout.readline())

    def is_running(self):
        return not select.select([self._launcher.stdout], [], [], 0)[0]

    def wait(self):
        """Its status, and what it has said."""
        assert select.select([self._launcher.stdout], [], [], 300)[0], "still running"
        return int(self._launcher.stdout.readline()), self._said.read_text()


@pytest.fixture
def recipe_file(surveys, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(surveys.RECIPE)
    return path


@pytest.fixture
def alone(monkeypatch):
    """No cross-check: the small grid is no other network's; and few simulated spectra."""
    monkeypatch.setattr("specz_cnn.training.survey_training._SIMULATED_CALIBRATION", 200)
    with conf.set_temp("default_cross_check", ""):
        yield


def tensors(path):
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def test_catalogue_to_weights(recipe_file, survey_files, tmp_path, alone, capsys):
    """From a mirror; then again, where nothing is left to do."""
    arguments = [
        "train",
        str(recipe_file),
        "--dr16q",
        str(survey_files / "catalogue.fits"),
        "--sas",
        str(survey_files),
    ]
    arguments += ["--real-fraction", "1", "-o", str(tmp_path / "run")]
    assert main([*arguments, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert (
        "60 spectra of 30 objects" in plan and "training: 6 steps" in plan and not (tmp_path / "run").exists()
    )
    assert main(arguments) == 0
    out, said = capsys.readouterr()
    weights = tmp_path / "run" / "small.safetensors"
    assert out.strip() == str(weights)
    for stage in ("sample:", "spectra, train:", "training: step 6 of 6", "calibration:", "evaluation:"):
        assert stage in said
    info = load_model(weights).info
    assert info.calibration["report"]["data"] == [
        "held-out spectra of the catalogue",
        "200 simulated spectra",
    ]
    card = (tmp_path / "run" / "small.rst").read_text()
    assert info.sha256 in card and "Accuracy on the test set" in card

    # No object is on two sides, and every spectrum on one.
    sample = Table.read(tmp_path / "run" / "sample.fits")
    sides = {name: set(sample["object"][sample["part"] == name]) for name in PARTS}
    assert sum(map(len, sides.values())) == 30 and all(sides.values())
    fibers = [read_shards(tmp_path / "run" / "shards" / name)[2]["fiber"].tolist() for name in PARTS]
    assert sorted(np.concatenate(fibers).tolist()) == list(range(1, 61))
    judged = Table.read(tmp_path / "run" / "evaluation" / "z.fits")
    assert sorted(judged["fiber"]) == sorted(fibers[2]) and np.isfinite(judged["z"]).all()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.safetensors")}
    assert main(arguments) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert main([*arguments, "--z", "1.5", "2.5"]) == 1
    assert "belongs to a run with other z_range" in capsys.readouterr().err


def test_samples_grow(recipe_file, survey_files):
    """A smaller sample is part of a larger one, with the same sides; the range of redshifts is kept."""

    def take(**options):
        run = SurveyTraining(read_recipe(recipe_file), survey_files / "catalogue.fits", "nowhere", **options)
        rows, part = run.rows()
        return dict(zip(rows["fiber"].tolist(), part.tolist(), strict=True)), rows

    (some, _), (more, _), (everything, _) = take(sample=14), take(sample=30), take()
    assert len(some) == 14 and len(more) == 30 and some.items() <= more.items() <= everything.items()
    assert all(((fiber + 1) // 2 * 2 in some) == (fiber in some) for fiber in some)  # objects whole
    _, rows = take(z_range=(2.0, 2.5))
    assert len(rows) and (rows["z"] >= 2.0).all() and (rows["z"] <= 2.5).all()
    with pytest.raises(ValueError, match="no row of .* is wanted"):
        take(z_range=(6.0, 7.0))


def test_an_archive_with_faults(recipe_file, survey_files, loopback, tmp_path, alone, monkeypatch):
    """Missing files are left out and counted; a server that is down ends the run, which then continues."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.01)
    names = sorted(loopback.files)
    loopback.moods[names[3]], loopback.moods[names[4]] = [503], ["cut"]
    gone = loopback.files.pop(names[7])
    said = []
    options = {"real_fraction": 1.0, "say": said.append, "discard": True}
    with (
        conf.set_temp("sas_baseurl", f"{loopback.url}/sas"),
        conf.set_temp("retries", 2),
        conf.set_temp("timeout", 2.0),
    ):
        run = SurveyTraining(
            read_recipe(recipe_file), survey_files / "catalogue.fits", tmp_path / "run", **options
        )
        down = {name: [503] * 9 for name in names[20:40]}
        loopback.moods.update(down)
        with pytest.raises(RuntimeError, match="could not be fetched.*the same command continues"):
            run.run()
        loopback.moods.clear()
        loopback.requests.clear()
        assert run.run() == tmp_path / "run" / "small.safetensors"
    assert gone and any("1 no file" in line for line in said)
    n = sum(len(read_shards(tmp_path / "run" / "shards" / name)[2]) for name in PARTS)
    assert n == 59
    assert not list((tmp_path / "run" / "spectra").rglob("*.fits"))  # discarded
    assert sum(loopback.requests.values()) < 2 * 60


@pytest.mark.slow
def test_killed_at_every_stage(recipe_file, survey_files, loopback, tmp_path):
    """``kill -9`` within and after every stage: the weights are those of an undisturbed run."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LAUNCHER, f"{loopback.url}/sas"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
    ) as launcher:
        try:
            kill_and_compare(launcher, recipe_file, survey_files / "catalogue.fits", tmp_path)
        finally:
            launcher.kill()


def kill_and_compare(launcher, recipe_file, catalogue, tmp_path):
    def start(output):
        words = ["train", str(recipe_file), "--dr16q", str(catalogue), "--real-fraction", "1"]
        return Launched(launcher, tmp_path / "said.txt", [*words, "--threads", "1", "-o", str(output)])

    status, said = start(tmp_path / "whole").wait()
    assert said and status == 0, said
    run, killed = tmp_path / "killed", []

    def wait_for(process, sign):
        until = time.time() + 200
        while not sign() and process.is_running() and time.time() < until:
            time.sleep(0.01)

    signs = {
        "sample": lambda: (run / "sample.fits").exists(),
        "fetching": lambda: len(list((run / "spectra").rglob("*.fits"))) > 20,
        "shards": lambda: (run / "shards" / "calibration" / "shards.json").exists(),
        "training": lambda: (run / "checkpoint.pt").exists(),
        "trained": lambda: (run / "trained" / "small.safetensors").exists(),
        "calibrated": lambda: (run / "small.safetensors").exists(),
        "evaluating": lambda: (run / "evaluation" / "z.fits").exists(),
    }
    for name, sign in signs.items():
        process = start(run)
        wait_for(process, sign)
        if process.is_running():
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(process.pid, signal.SIGKILL)
        if process.wait()[0] == -signal.SIGKILL:
            killed.append(name)
    status, said = start(run).wait()
    assert status == 0, said
    assert len(killed) >= 4, killed
    assert tensors(run / "small.safetensors") == tensors(tmp_path / "whole" / "small.safetensors")
    assert load_model(run / "small.safetensors").info.calibration == (
        load_model(tmp_path / "whole" / "small.safetensors").info.calibration
    )
    log = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert sorted(set(log)) == [2, 4, 6]
    assert Path(run / "small.rst").exists() and not list(run.rglob(".part-*.safetensors"))


def test_usage(recipe_file, survey_files, tmp_path, capsys):
    catalogue = str(survey_files / "catalogue.fits")
    base = ["train", str(recipe_file), "-o", str(tmp_path / "run")]
    for words, message in (
        (["--z", "2", "3"], "belong to --dr16q"),
        (["--dr16q", catalogue, "--spectra", "x", "--catalogue", catalogue], "finds its spectra itself"),
        (["--dr16q", "nothing.fits"], "no such file"),
        (["--dr16q", catalogue, "--sample", "3"], "--sample must be at least 10"),
    ):
        assert main([*base, *words]) == 2
        assert message in capsys.readouterr().err
