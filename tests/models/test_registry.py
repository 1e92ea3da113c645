"""Saving, loading, listing and packaging of networks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from specz_cnn.models import ModelInfo, RNet, RNetE, WeightsError, registry, save_model
from specz_cnn.models.cache import cached_model
from specz_cnn.models.packaging import package_model, retire_model
from specz_cnn.models.registry import (
    list_models,
    load_model,
    model_info,
    resolve_model,
    superseded_models,
)

GRID = {"start": 35440, "factor": 4, "n_pixels": 1212}
ARGUMENTS = {"n_bins": 64, "channels": [4], "kernels": [5], "n_templates": 2}


@pytest.fixture
def network():
    torch.manual_seed(3)
    return RNetE(**ARGUMENTS).eval()


@pytest.fixture
def info():
    return ModelInfo(
        "small",
        "small-1",
        "RNetE",
        ARGUMENTS,
        GRID,
        bins={"n": 64, "step": 0.03},
        z_range=(0.0, 5.8),
        calibration={"temperature": 1.25},
        metrics={"real": {"nmad": np.float64(120.5), "bias": np.nan, "n": np.int64(3)}},
        seed=7,
        description="A small one.",
    )


@pytest.fixture
def path(tmp_path, network, info):
    save_model(tmp_path / "small.safetensors", network, info)
    return tmp_path / "small.safetensors"


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """An empty directory in place of the packaged weights."""
    directory = tmp_path / "weights"
    monkeypatch.setattr(registry, "WEIGHTS_DIRECTORY", directory)
    return directory


def test_round_trip(path, network, info):
    loaded = load_model(path)
    assert not loaded.training
    assert loaded.grid == info.model_grid and loaded.grid.n_pixels == 1212
    assert loaded.info.calibration == {"temperature": 1.25}
    # Numbers of numpy become plain ones; those that JSON does not know, null.
    assert loaded.info.metrics == {"real": {"nmad": 120.5, "bias": None, "n": 3}}
    assert loaded.info.z_range == (0.0, 5.8)
    assert len(loaded.info.sha256) == 64 and loaded.info.package_version
    for name, tensor in network.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == tensor.dtype
        half = tensor.is_floating_point() and tensor.dim() >= 2
        torch.testing.assert_close(found, tensor.half().float() if half else tensor, rtol=0, atol=0)


def test_saving_again_changes_no_parameter(path, tmp_path):
    first = load_model(path)
    save_model(tmp_path / "again.safetensors", first, first.info)
    second = load_model(tmp_path / "again.safetensors")
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)


def test_single_precision(tmp_path, network, info):
    save_model(tmp_path / "full.safetensors", network, info, half=False)
    loaded = load_model(tmp_path / "full.safetensors")
    assert torch.equal(loaded.templates, network.templates)


def test_every_load_gives_a_network_of_its_own(path):
    first, second = load_model(path), load_model(path)
    with torch.no_grad():
        first.templates.zero_()
    assert second.templates.abs().sum() > 0
    assert first.templates.requires_grad  # ready for fine-tuning


def test_info_alone(path):
    info = model_info(path)
    assert info == load_model(path).info
    assert json.loads(info.to_json())["tag"] == "small-1"


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_parameters_that_half_precision_cannot_hold(tmp_path, network, info, value):
    with torch.no_grad():
        network.templates[0, 0, 0] = value
    with pytest.raises(WeightsError, match="templates"):
        save_model(tmp_path / "bad.safetensors", network, info)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "Transformer"}, "architecture"),
        ({"bins": None}, "exactly one"),
        ({"target": {"mean": 0, "std": 1}}, "exactly one"),
        ({"bins": {"n": 64, "step": -1}}, "bins"),
        ({"z_range": (3.0, 2.0)}, "range"),
        ({"grid": {**GRID, "n_pixels": 0}}, "grid"),
        ({"preprocess_version": 99}, "preprocessing"),
        ({"arguments": {**ARGUMENTS, "n_templates": 3}}, "shape"),
    ],
)
def test_info_that_does_not_fit_is_not_saved(tmp_path, network, info, changes, reason):
    with pytest.raises(WeightsError, match=reason):
        save_model(tmp_path / "bad.safetensors", network, replace(info, **changes))
    assert not list(tmp_path.iterdir())


def test_name_of_the_file(tmp_path, network, info):
    with pytest.raises(WeightsError, match=r"\.safetensors"):
        save_model(tmp_path / "small.pt", network, info)


def test_unknown_name(packaged):
    with pytest.raises(WeightsError, match="no model 'rnet-z'"):
        load_model("rnet-z")
    assert list_models() == []


def test_packaging(path, packaged):
    file = package_model(path, directory=packaged)
    assert list_models() == ["small"]
    assert file.name.startswith("small-1-") and resolve_model("small")[0] == file
    assert load_model("small").info == load_model("small-1").info == load_model(path).info
    # Once more: nothing changes.
    assert package_model(path, directory=packaged) == file


def test_a_name_moves_to_another_tag(path, packaged, tmp_path, network, info):
    package_model(path, directory=packaged)
    other = tmp_path / "other.safetensors"
    save_model(other, network, replace(info, tag="small-2"))
    package_model(other, directory=packaged)
    assert list_models() == ["small"]
    assert model_info("small").tag == "small-2"
    assert model_info("small-1").tag == "small-1"


def test_superseded_weights_leave_a_trace(path, packaged, tmp_path, network, info):
    first = package_model(path, directory=packaged)
    with pytest.raises(WeightsError, match="nothing newer"):
        retire_model("small-1", directory=packaged)
    other = tmp_path / "other.safetensors"
    save_model(other, network, replace(info, tag="small-2"))
    package_model(other, directory=packaged)
    sha256 = resolve_model("small-1")[1]
    retire_model("small-1", directory=packaged)
    assert not first.exists() and len(list(packaged.iterdir())) == 2
    assert list_models() == ["small"] and model_info("small").tag == "small-2"
    kept = superseded_models()["small-1"]
    assert kept["sha256"] == sha256 and kept["superseded_by"] == "small-2"
    assert kept["model_sha256"] == load_model(path).info.sha256
    assert kept["description"] == "A small one." and kept["z_range"] == [0.0, 5.8]
    with pytest.raises(WeightsError, match=f"superseded by 'small-2'.*{sha256}"):
        load_model("small-1")
    with pytest.raises(WeightsError, match="no weights 'small-1'"):
        retire_model("small-1", directory=packaged)


def test_the_tag_of_superseded_weights_is_not_free(path, packaged, tmp_path, network, info):
    old = tmp_path / "old.safetensors"
    old.write_bytes(path.read_bytes())
    package_model(path, directory=packaged)
    save_model(path, network, replace(info, tag="small-2"))
    package_model(path, directory=packaged)
    retire_model("small-1", directory=packaged)
    with torch.no_grad():
        network.bias += 1
    save_model(path, network, info)
    with pytest.raises(WeightsError, match="tags never change"):
        package_model(path, directory=packaged)
    package_model(old, directory=packaged)  # but the same ones may come back
    assert model_info("small").tag == "small-1" and superseded_models() == {}


def test_missing_packaged_file(path, packaged):
    package_model(path, directory=packaged).unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_model("small")


def test_cache(path, network, info):
    first = cached_model(path)
    assert cached_model(str(path)) is first
    save_model(path, network, replace(info, tag="small-1b"))
    assert cached_model(path).info.tag == "small-1b"


def test_number_instead_of_bins(tmp_path):
    torch.manual_seed(1)
    network = RNet()
    info = ModelInfo("number", "number-1", "RNet", {}, GRID, target={"mean": 1.1, "std": 0.3})
    save_model(tmp_path / "number.safetensors", network, info)
    assert load_model(tmp_path / "number.safetensors").info.target == {"mean": 1.1, "std": 0.3}


def test_packaged_models_load():
    """Whatever is packaged loads, and is what its name says."""
    for name in list_models():
        network = load_model(name)
        assert network.info.name == name
        # QuasarNET's pixels are its own.
        assert network.grid.to_dict() == (
            {"start": 35564, "factor": 10, "n_pixels": 443} if name == "quasarnet" else GRID
        )
        assert registry.resolve_model(name)[0].stat().st_size < 32e6


def test_nothing_else_lies_among_the_packaged_files():
    listed = {entry["file"] for entry in registry._index(registry.WEIGHTS_DIRECTORY)["models"].values()}
    assert {path.name for path in registry.WEIGHTS_DIRECTORY.glob("*.safetensors")} == listed


def test_frame_is_said_and_old_files_keep_their_checksums():
    old = ModelInfo("a", "a-1", "RNet", {}, {"n_pixels": 1212}, target={"mean": 1.0, "std": 0.3})
    assert old.frame == "sdss" and "frame" not in old.to_json()
    new = replace(old, frame="systemic", sha256="0")
    assert ModelInfo.from_json(new.to_json()).frame == "systemic"
    with pytest.raises(WeightsError, match="frame"):
        replace(old, frame="heliocentric").check()
