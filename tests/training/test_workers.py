"""Several workers under torchrun: the same training as one, and resumed by another number of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from specz_cnn import load_model
from specz_cnn.training.recipe import build_trainer, read_recipe
from specz_cnn.training.workers import Workers


@pytest.fixture
def recipe_file(surveys, tmp_path):
    path = tmp_path / "small.toml"
    text = surveys.RECIPE.replace("steps = 6", "steps = 40").replace(
        "checkpoint_every = 2", "checkpoint_every = 10"
    )
    path.write_text(text.replace("batch_size = 8", "batch_size = 33"))
    return path


def log_of(directory):
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def test_shares_of_a_batch():
    for n, size in ((128, 3), (5, 4), (33, 2)):
        shares = [Workers(rank, size).share(n) for rank in range(size)]
        assert sum(shares) == n and max(shares) - min(shares) <= 1


def test_one_worker_is_no_ceremony():
    one = Workers()
    module = torch.nn.Linear(2, 1)
    assert one.first and one.parallel(module) is module and one.mean(3.5) == 3.5 and one.agree(True)
    one.wait()
    one.leave()


def test_workers_draw_different_examples(surveys, survey_files, tmp_path):
    """Each has its own seed; the first of one worker sees what a run without workers sees."""
    (tmp_path / "r.toml").write_text(surveys.RECIPE)
    recipe = read_recipe(tmp_path / "r.toml")
    batches = [
        build_trainer(recipe, None, tmp_path / str(rank), workers=Workers(rank, 1)).source.batch(0)
        for rank in (0, 1)
    ]
    alone = build_trainer(recipe, None, tmp_path / "alone").source.batch(0)
    assert torch.equal(batches[0].x, alone.x) and not torch.equal(batches[1].x, alone.x)


def test_half_precision(surveys, tmp_path):
    """bfloat16 where it can be: transforms and losses stay as they are, and it learns."""
    (tmp_path / "r.toml").write_text(surveys.RECIPE.replace("steps = 6", "steps = 40\nbf16 = true"))
    recipe = read_recipe(tmp_path / "r.toml")
    trainer = build_trainer(recipe, None, tmp_path / "run")
    assert trainer.bf16
    assert trainer.run()
    losses = [entry["loss"] for entry in log_of(tmp_path / "run")]
    assert np.isfinite(losses).all() and np.mean(losses[-4:]) < losses[0]
    assert all(value.dtype == torch.float32 for value in trainer.network.parameters())


@pytest.mark.slow
def test_two_workers_and_one(recipe_file, survey_files, tmp_path):
    """The loss falls alike; a run of two workers is continued by one, whose weights any run can use."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    words = ["train", str(recipe_file), "--spectra", str(survey_files), "--real-fraction", "1"]
    words += ["--catalogue", str(survey_files / "catalogue.fits")]

    def train(n, output, *more):
        launcher = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(n),
            "-m",
            "specz_cnn",
        ]
        command = [
            sys.executable,
            *(launcher if n > 1 else ["-m", "specz_cnn"]),
            *words,
            "-o",
            str(output),
            *more,
        ]
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stderr
        return done

    train(1, tmp_path / "one")
    train(2, tmp_path / "two")
    one, two = log_of(tmp_path / "one"), log_of(tmp_path / "two")
    assert [entry["step"] for entry in one] == [entry["step"] for entry in two] == [10, 20, 30, 40]
    assert abs(one[-1]["loss"] - two[-1]["loss"]) < 0.25 * one[0]["loss"]
    assert two[-1]["loss"] < two[0]["loss"]

    assert "stopped at step" in train(2, tmp_path / "changed", "--seconds", "0").stderr
    train(1, tmp_path / "changed")
    assert [entry["step"] for entry in log_of(tmp_path / "changed")] == [10, 20, 30, 40]
    assert load_model(tmp_path / "two" / "small.safetensors").info.recipe["steps"] == 40
