"""Weights files that are damaged, altered, of another kind or hostile: refused with a reason, and never unpickled."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from specz_cnn.models import registry
from specz_cnn.models.info import ModelInfo, WeightsError
from specz_cnn.models.packaging import package_model
from specz_cnn.models.registry import load_model, model_info, save_model
from specz_cnn.models.rnet_e import RNetE

ARGUMENTS = {
    "n_pixels": 40,
    "n_bins": 60,
    "channels": [3, 2],
    "kernels": [5, 3],
    "n_templates": 2,
    "n_segments": 4,
}
INFO = ModelInfo(
    name="tiny",
    tag="tiny-1",
    architecture="RNetE",
    arguments=ARGUMENTS,
    grid={"start": 35440, "factor": 4, "n_pixels": 40},
    bins={"n": 60, "step": 0.03},
    z_range=(0, 5),
    calibration={"temperature": 1.25},
)


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "tiny.safetensors"
    save_model(path, RNetE(**ARGUMENTS).eval(), INFO)
    return path


def split(path):
    """The header of a safetensors file as a dict, and the bytes that follow it."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def restate(path, **changes):
    """Rewrite the JSON metadata with some values changed (None: removed)."""
    header, data = split(path)
    values = json.loads(header["__metadata__"]["specz_cnn"]) | changes
    values = {name: value for name, value in values.items() if value is not None or name not in changes}
    header["__metadata__"]["specz_cnn"] = json.dumps(values)
    join(path, header, data)


def assert_refused(path, reason):
    with pytest.raises(WeightsError, match=f"(?s){re.escape(str(path))}.*{reason}"):
        load_model(path)


def test_the_file_itself_is_fine(path):
    network = load_model(path)
    assert network.info.tag == "tiny-1" and not network.training
    assert network(torch.zeros(1, 2, 40)).shape == (1, 61)


def test_every_altered_byte_is_noticed(path):
    """One bit of one byte changed, at places all over the file: refused, or nothing but white space changed."""
    content = path.read_bytes()
    wanted = load_model(path)
    rng = np.random.default_rng(6)
    for position in np.unique(np.r_[np.arange(16), rng.integers(0, len(content), 250)]):
        altered = bytearray(content)
        altered[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        try:
            network = load_model(path)
        except WeightsError as error:
            assert str(path) in str(error)
            continue
        assert network.info == wanted.info, position
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, wanted.state_dict()[name]), position


def test_every_truncation_is_noticed(path):
    content = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, *range(200, len(content), 400), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError, match="not a safetensors file, or damaged"):
            load_model(path)
    path.write_bytes(content + b"\0")
    assert_refused(path, "not a safetensors file, or damaged")


def test_altered_tensors(path):
    header, data = split(path)
    join(path, header, data[:-1] + bytes([data[-1] ^ 1]))
    assert_refused(path, "it was altered: the SHA-256")


def test_altered_calibration(path):
    restate(path, calibration={"temperature": 0.01})
    assert_refused(path, "it was altered: the SHA-256")


def test_wrong_checksum(path):
    restate(path, sha256="0" * 64)
    assert_refused(path, "it was altered: the SHA-256")


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_unknown_schema(path, schema):
    restate(path, schema=schema)
    assert_refused(path, "schema")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preprocess_version": 99}, "preprocessing 99"),
        ({"architecture": "os.system"}, "architecture"),
        ({"architecture": "RNet"}, "RNet"),
        ({"arguments": {**ARGUMENTS, "n_bins": 10**12}}, "do not fit"),
        ({"arguments": {**ARGUMENTS, "n_templates": 10**12}}, "does not take|shape"),
        ({"arguments": {**ARGUMENTS, "n_templates": -1}}, "does not take|shape"),
        ({"arguments": {**ARGUMENTS, "kernels": [5]}}, "does not take"),
        ({"arguments": {**ARGUMENTS, "code": "x"}}, "does not take"),
        ({"arguments": "n_pixels"}, "malformed"),
        ({"grid": {"start": 0, "factor": 1, "n_pixels": 10**9}}, "grid"),
        ({"grid": {"start": 0}}, "malformed"),
        ({"grid": [1, 2]}, "malformed"),
        ({"bins": {"n": 61, "step": 0.03}}, "do not fit"),
        ({"bins": {"n": 60, "step": -1}}, "bins"),
        ({"bins": None}, "bins and target"),
        ({"target": {"mean": 1, "std": 1}}, "bins and target"),
        ({"z_range": [3, 2]}, "redshift range"),
        ({"z_range": 7}, "malformed"),
        ({"sha256": None}, "lack"),
        ({"surprise": 1}, "unknown"),
    ],
)
def test_metadata_that_make_no_sense(path, changes, reason):
    restate(path, **changes)
    assert_refused(path, reason)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": 1}', "\ud800"])
def test_metadata_that_are_no_document(path, text):
    header, data = split(path)
    header["__metadata__"]["specz_cnn"] = text
    join(path, header, data)
    assert_refused(path, "")
    with pytest.raises(WeightsError):
        model_info(path)


def test_file_of_another_program(path):
    save_file({"weight": torch.zeros(3)}, path)
    assert_refused(path, "not a weights file of specz_cnn")
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    assert_refused(path, "not a weights file of specz_cnn")


def resigned(path, tensors):
    """Write other tensors with metadata and checksum that fit them: only the tensors themselves are wrong."""
    info = model_info(path)
    info = replace(info, sha256=registry._sha256(tensors, info))
    save_file(tensors, path, metadata={"specz_cnn": info.to_json()})


def test_missing_and_unknown_tensors(path):
    tensors = load_file(path)
    resigned(path, {k: v for k, v in tensors.items() if k != "templates"})
    assert_refused(path, "missing.*templates")
    resigned(path, tensors | {"stowaway": torch.zeros(2)})
    assert_refused(path, "unknown.*stowaway")
    resigned(path, {k.replace("bias", "BIAS"): v for k, v in tensors.items()})
    assert_refused(path, "missing")


def test_tensors_of_another_shape_or_kind(path):
    tensors = load_file(path)
    resigned(path, tensors | {"bias": torch.zeros(61)})
    assert_refused(path, "tensor bias has shape")
    resigned(path, tensors | {"bias": torch.zeros(60, dtype=torch.int64)})
    assert_refused(path, "tensor bias is torch.int64")


class Trap:
    """Unpickling this makes a directory."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["pickle", "old pickle", "torch", "old torch"])
def test_pickles_are_refused_unread(path, tmp_path, how):
    trap, sprung = Trap(tmp_path / "sprung"), tmp_path / "sprung"
    if "torch" in how:
        torch.save({"weight": trap}, path, _use_new_zipfile_serialization=how == "torch")
    else:
        path.write_bytes(pickle.dumps(trap, protocol=0 if how == "old pickle" else 5))
    assert_refused(path, "not a safetensors file|it is a pickle")
    with pytest.raises(WeightsError):
        package_model(path, directory=tmp_path / "packaged")
    assert not sprung.exists() and not (tmp_path / "packaged").exists()
    if how == "pickle":  # the trap works
        pickle.loads(path.read_bytes())
        assert sprung.exists()


@pytest.mark.parametrize("size", [2**63, 2**40, 2**25, 10**6, 1, 0])
def test_header_that_claims_another_size(path, size):
    """Refused before anything of that size is allocated."""
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    assert_refused(path, "not a safetensors file, or damaged")


@pytest.mark.parametrize("header", [b"[]", b"17", b"null", b'"x"', b"[" * 200_000, b"\xff\xfe{}", b"{}"])
def test_header_that_is_no_table(path, header):
    join(path, header, b"")
    assert_refused(path, "")


def test_tensor_beyond_the_end_or_over_another(path):
    header, data = split(path)
    name, other = [key for key in header if key != "__metadata__"][:2]
    for offsets in ([0, 2**50], [-8, 0], header[other]["data_offsets"]):
        changed = {**header, name: {**header[name], "data_offsets": offsets}}
        join(path, changed, data)
        assert_refused(path, "not a safetensors file, or damaged")


def test_what_is_no_file(tmp_path):
    with pytest.raises(WeightsError, match="no model"):
        load_model(tmp_path)
    with pytest.raises(WeightsError, match="no model"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="no model"):
        load_model("rnet-of-nobody")
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    with pytest.raises(WeightsError, match="no model"):
        load_model(loop)


def test_packaged_file_replaced_by_another(path, tmp_path, monkeypatch):
    """Even by one that is in itself in order."""
    directory = tmp_path / "packaged"
    packaged = package_model(path, directory=directory)
    monkeypatch.setattr(registry, "WEIGHTS_DIRECTORY", directory)
    assert load_model("tiny").info.tag == "tiny-1"
    torch.manual_seed(3)
    save_model(packaged, RNetE(**ARGUMENTS), INFO)
    with pytest.raises(WeightsError, match="not the packaged file"):
        load_model("tiny")
    packaged.unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_model("tiny-1")


def test_a_tag_never_stands_for_other_weights(path, tmp_path):
    package_model(path, directory=tmp_path / "packaged")
    torch.manual_seed(3)
    save_model(path, RNetE(**ARGUMENTS), INFO)
    with pytest.raises(WeightsError, match="tags never change"):
        package_model(path, directory=tmp_path / "packaged")
