"""Fine-tuning: from finished weights, watched by some spectra, judged by others."""

from __future__ import annotations

import json

import pytest
import torch

from specz_cnn import load_model
from specz_cnn.cli import main
from specz_cnn.training.finetune import EarlyStop, compare_lines, fine_tuning
from specz_cnn.training.recipe import build_trainer, read_recipe
from specz_cnn.training.shards import read_shards


@pytest.fixture
def recipe_file(surveys, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(surveys.RECIPE)
    return path


def test_small_rate_and_everything_taken_over(recipe_file, tmp_path):
    recipe = read_recipe(recipe_file)
    torch.save({"averaged": recipe.build_network().state_dict()}, tmp_path / "start.pt")
    tuned = fine_tuning(recipe, tmp_path / "start.pt", steps=40)
    assert tuned.training["rate"] == pytest.approx(1e-3) and tuned.training["checkpoint_every"] == 2
    assert fine_tuning(recipe, "x", rate=3e-5).training["rate"] == 3e-5
    trainer = build_trainer(tuned, None, tmp_path / "run")
    before = recipe.build_network().state_dict()
    assert all(torch.equal(value, before[name]) for name, value in trainer.averaged.state_dict().items())


def test_stops_when_it_gets_no_better(recipe_file, tmp_path):
    """The watched loss is made up: it rises after the second look, and the weights of that look are kept."""
    recipe = fine_tuning(read_recipe(recipe_file), None, steps=60)
    recipe = type(recipe)(**{**vars(recipe), "start": {}})
    trainer = build_trainer(recipe, None, tmp_path)
    stop = EarlyStop(trainer, "simulated", patience=2)
    losses, seen = iter([5.0, 4.0, 4.5, 4.6, 4.7, 1.0]), []

    def made_up(examples, batch_size=256):
        seen.append({name: value.clone() for name, value in trainer.averaged.state_dict().items()})
        return {"loss": next(losses)}

    trainer.evaluate = made_up
    stop.begin()
    assert trainer.run()
    assert trainer.step == 9 and stop.best == (
        3,
        4.0,
    )  # a look every three steps; two more without improvement
    stop.finish()
    assert all(torch.equal(value, seen[1][name]) for name, value in trainer.averaged.state_dict().items())


def test_command(recipe_file, survey_files, tmp_path, capsys):
    """Before and after on objects that neither trained nor stopped it, stopped and continued on the way."""
    recipe = read_recipe(recipe_file)
    torch.save({"averaged": recipe.build_network().state_dict()}, tmp_path / "start.pt")
    arguments = [
        "train",
        str(recipe_file),
        "--start",
        str(tmp_path / "start.pt"),
        "--steps",
        "6",
        "--rate",
        "0.01",
    ]
    arguments += ["--spectra", str(survey_files), "--catalogue", str(survey_files / "catalogue.fits")]
    arguments += ["--real-fraction", "1", "--held-out", "0.3", "-o", str(tmp_path / "run")]
    assert main([*arguments, "--seconds", "0"]) == 0
    before = json.loads((tmp_path / "run" / "before.json").read_text())
    assert main(arguments) == 0
    said = capsys.readouterr().err
    assert "best at step" in said and "before" in said and "within 3000 km/s" in said
    assert json.loads((tmp_path / "run" / "before.json").read_text()) == before
    fibers = [
        {(fiber + 1) // 2 for fiber in read_shards(tmp_path / "run" / name)[2]["fiber"].tolist()}
        for name in ("shards", "stopping", "held-out")
    ]
    assert all(fibers) and sum(map(len, fibers)) == len(set.union(*fibers)) == 30  # objects on one side each
    assert f"held-out quasars: {before['n']}" in (tmp_path / "run" / "held-out.txt").read_text()
    assert load_model(tmp_path / "run" / "small.safetensors").info.metrics["real"]["n"] > 0


def test_intervals_of_a_comparison():
    metrics = {"n": 40, "within_600": 0.5, "within_3000": 0.9, "nmad": 300.0, "bias": -20.0, "loss": 2.5}
    text = "\n".join(compare_lines(metrics, {**metrics, "within_600": 0.7}))
    assert "0.500 (0.352 to 0.648)" in text and "0.700 (0.546 to 0.819)" in text
