"""Recipes: read, refused, built, trained for a few steps, saved; and the commands that do so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specz_cnn import load_model
from specz_cnn.cli import main
from specz_cnn.training.finish import save_weights
from specz_cnn.training.recipe import (
    Recipe,
    build_trainer,
    outside_validation,
    packaged_recipes,
    read_recipe,
    start_from,
)
from specz_cnn.training.shards import read_shards

SMALL = """
[model]
name = "small"
architecture = "RNetE"
bins = { n = 400, step = 5e-3 }
grid = { start = 35440, factor = 16, n_pixels = 303 }
[model.arguments]
n_pixels = 303
n_bins = 400
channels = [4]
kernels = [5]
n_templates = 2
[simulation]
z_max = 5.0
[training]
steps = 4
batch_size = 8
checkpoint_every = 2
seed = 5
[validation]
n_simulated = 32
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_packaged_recipes_are_complete():
    recipes = packaged_recipes()
    assert {
        "rnet-e",
        "rnet-pz",
        "rnet",
        "rnet-z2.8-3.0",
        "quasarnet",
        "fnet",
        "fnet-coarse",
        "fnet-coarse-pz",
    } <= recipes.keys()
    for name in recipes:
        recipe = read_recipe(name)
        assert recipe.model["name"] == name and recipe.training["steps"] > 0
        assert (recipe.model.get("bins") is None) != (recipe.model.get("target") is None)
        assert recipe.grid.n_pixels == {"quasarnet": 443, "fnet": 4618}.get(name, 1212)
        with torch.device("meta"):
            assert recipe.build_network().n_pixels == recipe.grid.n_pixels
        assert read_recipe(recipes[name]) == recipe


def test_networks_of_a_recipe_come_from_its_seed(recipe_file):
    recipe = read_recipe(recipe_file)
    one, other = recipe.build_network(), recipe.build_network()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[training]", "[trainning]"), "unknown tables .'trainning'."),
        (('"RNetE"', '"ResNet"'), "architecture must be one of"),
        (("z_max", "zmax"), "unknown simulation settings .'zmax'."),
    ],
)
def test_recipes_with_mistakes(recipe_file, change, message):
    recipe_file.write_text(SMALL.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_recipe(recipe_file)


def test_no_such_recipe(tmp_path):
    with pytest.raises(FileNotFoundError, match="packaged ones are .*rnet-e"):
        read_recipe(tmp_path / "none.toml")


def test_parameters_to_start_from(recipe_file, tmp_path):
    recipe = read_recipe(recipe_file)
    source, target = recipe.build_network(), recipe.build_network()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.fill_(0.5)
    path = tmp_path / "checkpoint.pt"
    torch.save({"averaged": source.state_dict()}, path)
    start_from(target, {"weights": path, "prefixes": ["features"]})
    for name, parameter in target.named_parameters():
        assert bool((parameter == 0.5).all()) == name.startswith("features"), name
    with pytest.raises(ValueError, match="no parameter with a prefix in"):
        start_from(target, {"weights": path, "prefixes": ["trunk"]})
    torch.save({"averaged": {"strange": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="that the network lacks"):
        start_from(target, {"weights": path})


@pytest.mark.slow
def test_train_command_from_recipe_to_weights(recipe_file, tmp_path, data_dir, capsys):
    """Stopped and continued, the command writes the weights that one run writes."""
    arguments = [
        "train",
        str(recipe_file),
        "--data",
        str(data_dir),
        "--threads",
        str(torch.get_num_threads()),
        "-o",
    ]
    denormal = torch.tensor([1e-40]) * 1 != 0
    try:
        assert main([*arguments, str(tmp_path / "whole")]) == 0
        assert main([*arguments, str(tmp_path / "parts"), "--seconds", "0"]) == 0
        assert "stopped at step 0; the same command continues" in capsys.readouterr().err
        assert main([*arguments, str(tmp_path / "parts")]) == 0
    finally:
        torch.set_flush_denormal(not denormal.item())
    out = capsys.readouterr().out
    path = tmp_path / "parts" / "small.safetensors"
    assert out.strip().endswith(str(path))
    one, other = load_file(tmp_path / "whole" / "small.safetensors"), load_file(path)
    assert all(torch.equal(other[name], value) for name, value in one.items())
    info = load_model(path).info
    assert (info.tag, info.seed, info.recipe["steps"]) == ("small-1", 5, 4)
    assert info.recipe["text"] == SMALL and info.z_range == (0.0, 5.0)
    assert {"within_3000", "completeness"} <= info.metrics["simulated"].keys()


def test_validation_objects_are_not_trained_on(data_dir):
    keep = outside_validation(data_dir / "dev_spectra.npz")
    with np.load(data_dir / "dev_spectra.npz") as data:
        groups = data["group"]
    assert 0 < keep.sum() < len(keep)
    assert set(groups[keep]).isdisjoint(groups[~keep])


@pytest.mark.slow
def test_number_networks_train_too(recipe_file, tmp_path, data_dir):
    text = SMALL.replace("bins = { n = 400, step = 5e-3 }", "target = { mean = 1.0, std = 0.3 }").replace(
        "RNetE", "RNet"
    )
    head, _, tail = text.partition("[model.arguments]")
    recipe_file.write_text(
        head + "[model.arguments]\nn_pixels = 1212\n[simulation]" + tail.partition("[simulation]")[2]
    )
    text = recipe_file.read_text().replace("factor = 16, n_pixels = 303", "factor = 4, n_pixels = 1212")
    recipe_file.write_text(text.replace("steps = 4", "steps = 1"))
    recipe = read_recipe(recipe_file)
    assert isinstance(recipe, Recipe)
    trainer = build_trainer(recipe, data_dir, tmp_path / "run")
    assert trainer.run()
    info = load_model(save_weights(trainer, recipe, tmp_path, tag="small-7")).info
    assert info.tag == "small-7" and info.target == {"mean": 1.0, "std": 0.3} and info.bins is None


def test_train_command_usage(recipe_file, tmp_path, capsys):
    arguments = ["train", str(recipe_file), "--data", str(tmp_path), "-o", str(tmp_path / "run")]
    assert main([*arguments, "--spectra", str(tmp_path)]) == 2
    assert "--spectra and --catalogue go together" in capsys.readouterr().err
    assert main(arguments) == 1
    assert "no directory" in capsys.readouterr().err


def test_real_spectra_alone_need_no_templates(recipe_file, surveys, tmp_path, monkeypatch, capsys):
    """Nothing is simulated: neither templates nor noise nor the compact bank; some objects only judge."""
    catalogue = surveys.make_survey(tmp_path / "spectra")
    monkeypatch.setattr("specz_cnn.training.recipe.Simulator", None)
    arguments = [
        "train",
        str(recipe_file),
        "--spectra",
        str(tmp_path / "spectra"),
        "--catalogue",
        str(catalogue),
    ]
    arguments += ["--real-fraction", "1", "--held-out", "0.3", "-o", str(tmp_path / "run")]
    assert main(arguments) == 0
    info = load_model(tmp_path / "run" / "small.safetensors").info
    assert info.metrics.keys() == {"real"}
    held = read_shards(tmp_path / "run" / "held-out")[2]["fiber"].tolist()
    trained = read_shards(tmp_path / "run" / "shards")[2]["fiber"].tolist()
    assert sorted(held + trained) == list(range(1, 25)) and info.metrics["real"]["n"] == len(held) > 0
    assert main([*arguments, "--real-fraction", "1.5"]) == 2
    assert "--real-fraction must be between 0 and 1" in capsys.readouterr().err


def test_training_on_the_compact_bank(recipe_file, tmp_path):
    recipe = read_recipe(recipe_file)
    trainer = build_trainer(recipe, None, tmp_path)
    assert trainer.run()
    info = load_model(save_weights(trainer, recipe, tmp_path)).info
    assert info.metrics["simulated"]["n"] > 0 and info.data["bank"] == "compact"
    assert info.recipe["training"]["steps"] == 4


def test_weights_of_a_training_that_was_stopped(recipe_file, tmp_path, monkeypatch, capsys):
    """What there is when time is up can be used, and the same command continues."""
    monkeypatch.setattr("time.perf_counter", iter(range(10**6)).__next__)
    arguments = ["train", str(recipe_file), "-o", str(tmp_path / "run")]
    assert main([*arguments, "--seconds", "2.5"]) == 0
    out, said = capsys.readouterr()
    steps = load_model(out.strip()).info.recipe["steps"]
    assert 0 < steps < 4 and f"stopped at step {steps}" in said
    assert main(arguments) == 0
    assert load_model(capsys.readouterr().out.strip()).info.recipe["steps"] == 4
