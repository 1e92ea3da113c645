"""Large matrices stored in 8 bits a weight."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from specz_cnn.models import registry
from specz_cnn.models.compact import pack, unpack
from specz_cnn.models.info import ModelInfo, WeightsError
from specz_cnn.models.registry import load_model, model_info, save_model
from specz_cnn.models.rnet import RNet

GRID = {"start": 35440, "factor": 4, "n_pixels": 1212}


def matrix(*shape, seed=4):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 128), (5, 300), (2, 1), (4, 3, 90)])
@pytest.mark.parametrize("scale", [1e-20, 0.01, 1.0, 3e5])
def test_half_a_step_at_most(shape, scale):
    wanted = matrix(*shape) * scale
    packed = pack("w", wanted)
    assert {name: tensor.dtype for name, tensor in packed.items()} == {
        "w": torch.int8,
        "w.step": torch.float32,
    }
    found = unpack(packed)["w"]
    assert found.shape == wanted.shape and found.dtype == torch.float32
    rows, got = wanted.flatten(1), found.flatten(1)
    for start in range(0, rows.shape[1], 128):
        part, back = rows[:, start : start + 128], got[:, start : start + 128]
        largest = part.abs().amax(1, keepdim=True)
        assert bool(((back - part).abs() <= 0.5001 / 127 * largest).all())


def test_again_and_again_it_stays_the_same():
    first = unpack(pack("w", matrix(40, 1000)))["w"]
    packed = pack("w", first)
    assert torch.equal(unpack(packed)["w"], first)
    assert packed["w"].abs().amax() == 127


def test_rows_of_zeros():
    wanted = matrix(3, 256)
    wanted[1] = 0
    wanted[2, :128] = 0
    found = unpack(pack("w", wanted))["w"]
    assert not found[1].any() and not found[2, :128].any() and found[2, 128:].any()


@pytest.mark.parametrize("share", ["rows", "shape", "type", "sign", "nan", "missing"])
def test_steps_that_make_no_sense(share):
    packed = pack("w", matrix(3, 256))
    step = packed.pop("w.step")
    wrong = {
        "rows": step[:2],
        "shape": step[:, :1],
        "type": step.half(),
        "sign": -step,
        "nan": step * float("nan"),
    }
    if share != "missing":
        packed["w.step"] = wrong[share]
    with pytest.raises(WeightsError, match="w"):
        unpack(packed)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "large.safetensors"
    torch.manual_seed(1)
    network = RNet().eval()
    info = ModelInfo("large", "large-1", "RNet", {}, GRID, target={"mean": 1.0, "std": 0.3})
    save_model(path, network, info)
    return path


def test_a_weights_file_of_half_the_size(path):
    stored = load_file(path)
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.int8} == {"fc1.0.weight"}
    assert stored["fc2.0.weight"].dtype == torch.float16 and stored["fc1.0.bias"].dtype == torch.float32
    assert path.stat().st_size < 8.6e6  # 15.9 MB in half precision
    torch.manual_seed(1)
    wanted, found = RNet().eval(), load_model(path)
    x = matrix(16, 2, 1212)
    with torch.no_grad():
        torch.testing.assert_close(found(x), wanted(x), rtol=0, atol=2e-4)


def test_saving_again_changes_nothing(path, tmp_path):
    first = load_model(path)
    save_model(tmp_path / "again.safetensors", first, first.info)
    one, other = load_file(path), load_file(tmp_path / "again.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_altered_weight_is_noticed(path, tmp_path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "altered.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="it was altered"):
        load_model(tmp_path / "altered.safetensors")


@pytest.mark.parametrize("change", ["no steps", "steps of nothing", "8 bits where 16 belong"])
def test_tensors_that_do_not_belong_together(path, tmp_path, change):
    """With metadata and checksum that fit them."""
    tensors, info = load_file(path), model_info(path)
    if change == "no steps":
        del tensors["fc1.0.weight.step"]
    elif change == "steps of nothing":
        tensors["fc2.0.weight.step"] = torch.ones(100, 8)
    else:
        tensors["fc2.0.weight"] = tensors["fc2.0.weight"].to(torch.int8)
    bad = tmp_path / "bad.safetensors"
    info = registry.replace(info, sha256=registry._sha256(tensors, info))
    save_file(tensors, bad, metadata={"specz_cnn": info.to_json()})
    with pytest.raises(WeightsError, match="step"):
        load_model(bad)
