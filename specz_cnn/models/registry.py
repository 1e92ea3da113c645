"""Networks on disk: safetensors files that carry everything needed to use them, and the registry of the packaged ones.

A weights file is a safetensors file whose metadata hold one JSON document: the architecture and its arguments, the
wavelength grid, the version of the preprocessing, the redshift bins (or the target of a regression), the range, the
calibration, and how the network was made.  Loading is strict: every tensor must have the name and shape that the
architecture asks for, and the SHA-256 of tensors and metadata must be the one in the metadata.  Pickles are never read.

``weights/index.json`` lists the packaged files with the SHA-256 of each, and says which tag a name stands for.  A tag
never changes what it means; a name may move to a newer tag.  Weights that no name stands for any more may leave the
package (`retire_model`): their tag, their SHA-256 and their description stay in the index.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from specz_cnn.io.whole import write_whole
from specz_cnn.models.info import SCHEMA_VERSION, ModelInfo, WeightsError
from specz_cnn.version import __version__

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

    from specz_cnn.typing import Device, ModelName, PathLike

__all__ = [
    "WEIGHTS_DIRECTORY",
    "list_models",
    "load_model",
    "model_info",
    "resolve_model",
    "same_weights",
    "save_model",
    "superseded_models",
]

#: Where the packaged weights lie.
WEIGHTS_DIRECTORY = Path(__file__).with_name("weights")

_METADATA_KEY = "specz_cnn"
_MAX_HEADER = 16 * 2**20  # bytes; ours are about 20 kB


def _network(info):
    """The network of an info, with parameters that are shapes only (on torch's "meta" device)."""
    import torch

    from specz_cnn.models.network import architectures

    cls = architectures().get(info.architecture)
    if cls is None:
        raise WeightsError(f"architecture {info.architecture!r} is none of {list(architectures())}")
    if info.preprocess_version != cls.preprocess_version:
        raise WeightsError(
            f"it was made for preprocessing {info.preprocess_version}, this is {cls.preprocess_version}"
        )
    with torch.device("meta"):
        return cls(**{"n_pixels": info.grid["n_pixels"], **info.arguments})


def _sha256(tensors, info):
    """SHA-256 over the metadata, and name, type, shape and bytes of each tensor, in order of the names."""
    digest = hashlib.sha256(replace(info, sha256="").to_json().encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(path: PathLike, module: nn.Module, info: ModelInfo, *, half: bool = True) -> ModelInfo:
    """Write a network as a weights file.

    Parameters
    ----------
    path : path-like
        Ends in ``.safetensors``; written under a temporary name and renamed.
    module : `torch.nn.Module`
        Its state dict is stored.
    info : ModelInfo
        ``sha256``, ``package_version`` and ``created`` are filled in.
    half : bool, optional
        Store tensors of two or more dimensions in half precision, and those of a million weights or more in 8 bits
        (``models/compact.py``); computation is in single precision all the same.  Biases and the statistics of
        normalisations stay in single precision.

    Returns
    -------
    ModelInfo
        As stored.

    Raises
    ------
    WeightsError
        If the info does not describe this module, or a parameter is not finite or too large for half precision.
    """
    import torch
    from safetensors.torch import save_file

    from specz_cnn.models import compact

    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: the name of a weights file ends in .safetensors")
    info.check()
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in module.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        short = half and tensor.is_floating_point() and tensor.dim() >= 2
        large = short and tensor.numel() >= compact.LARGE
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float16 if short and not large else torch.float32)
            if not torch.isfinite(tensor).all():
                raise WeightsError(
                    f"{path}: {name} is not finite, or too large for the precision of the file"
                )
        tensors |= compact.pack(name, tensor) if large else {name: tensor}
    _check_tensors(_network(info), compact.unpack(tensors))
    info = replace(
        info,
        schema=SCHEMA_VERSION,
        package_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256="",
    )
    info = ModelInfo.from_json(info.to_json())  # as it will be read, to the last digit
    info = replace(info, sha256=_sha256(tensors, info))
    with write_whole(path) as part:
        save_file(tensors, part, metadata={_METADATA_KEY: info.to_json()})
    return info


def _check_tensors(network, tensors):
    """Raise unless the tensors are exactly those of the network."""
    needed = network.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in needed.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        raise WeightsError(f"tensors missing: {missing or 'none'}; unknown tensors: {extra or 'none'}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise WeightsError(f"tensor {name} has shape {found[name]}, the architecture needs {shape}")
        if tensors[name].is_floating_point() != needed[name].is_floating_point():
            raise WeightsError(f"tensor {name} is {tensors[name].dtype}, the architecture needs another kind")


def _read_header(path):
    """The metadata of a safetensors file, without reading tensors (and without torch)."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            size = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= size <= _MAX_HEADER:
                raise WeightsError(_not_safetensors(start))
            header = json.loads(file.read(size))
    except (ValueError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(_not_safetensors(start)) from None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or _METADATA_KEY not in metadata:
        raise WeightsError("it is not a weights file of specz_cnn (no metadata)")
    return ModelInfo.from_json(metadata[_METADATA_KEY])


def _not_safetensors(start):
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "it is a pickle, and pickles are never read; write it anew with specz_cnn.models.save_model"
    return "it is not a safetensors file, or damaged"


def _index(directory):
    path = Path(directory) / "index.json"
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {"schema": SCHEMA_VERSION, "models": {}, "names": {}}
    return _read_index(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _read_index(path, mtime, size):
    """The index as it was written at a time, shared by all: the time and the size are there to tell a new one."""
    index = json.loads(path.read_text())
    if index.get("schema") != SCHEMA_VERSION:
        raise WeightsError(f"{path} has schema {index.get('schema')!r}, not {SCHEMA_VERSION}")
    return index


def list_models() -> list[str]:
    """Names of the packaged models, those that `load_model` takes.

    Returns
    -------
    list of str
    """
    return sorted(_index(WEIGHTS_DIRECTORY)["names"])


def resolve_model(name_or_path: ModelName) -> tuple[Path, str | None]:
    """The file of a model, and the SHA-256 it must have.

    Parameters
    ----------
    name_or_path : str or path-like
        The name or tag of a packaged model, or the path of a weights file.

    Returns
    -------
    path : `~pathlib.Path`
    sha256 : str or None
        None for a file that is not packaged.

    Raises
    ------
    WeightsError
        If there is neither a packaged model nor a file of this name.
    """
    index = _index(WEIGHTS_DIRECTORY)
    if isinstance(name_or_path, str):
        entry = index["models"].get(index["names"].get(name_or_path, name_or_path))
        if entry is not None:
            return WEIGHTS_DIRECTORY / entry["file"], entry["sha256"]
    path = Path(name_or_path)
    if path.is_file():
        return path, None
    gone = index.get("superseded", {}).get(name_or_path) if isinstance(name_or_path, str) else None
    if gone is not None:
        raise WeightsError(
            f"the weights {name_or_path!r} were superseded by {gone['superseded_by']!r} and left the package; "
            f"give the path of their file (SHA-256 {gone['sha256']})"
        )
    known = ", ".join(sorted(index["names"])) or "none is packaged"
    raise WeightsError(f"no model {str(name_or_path)!r}: neither a packaged one ({known}) nor a weights file")


def is_packaged(name: str) -> bool:
    """Whether a name or tag is that of a packaged model, which comes before a file of this name."""
    index = _index(WEIGHTS_DIRECTORY)
    return index["names"].get(name, name) in index["models"]


def same_weights(name: ModelName, other: ModelName) -> bool:
    """Whether two names, or a name and a file, stand for the same weights.

    False where one of them cannot be read: what is wrong with it is said when it is loaded.
    """
    if name == other:
        return True
    try:
        return _sha256_of(name) == _sha256_of(other)
    except (OSError, WeightsError):
        return False


def _sha256_of(name):
    path, _ = resolve_model(name)
    stat = path.stat()
    return _stated_sha256(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _stated_sha256(path, mtime, size):
    """What a weights file states, read once, as every fit asks for it: time and size are there to tell a new file."""
    return _read_header(path).sha256


def model_info(name_or_path: ModelName) -> ModelInfo:
    """What a model is, without loading it.

    Parameters
    ----------
    name_or_path : str or path-like
        As for `load_model`.

    Returns
    -------
    ModelInfo

    Raises
    ------
    WeightsError
        If there is no such model, or its metadata cannot be used.
    """
    path, _ = resolve_model(name_or_path)
    try:
        return _read_header(path)
    except WeightsError as error:
        raise WeightsError(f"cannot load {path}: {error}") from None


def load_model(name_or_path: ModelName, *, device: Device = "cpu") -> nn.Module:
    """Load a network, ready for inference.

    Parameters
    ----------
    name_or_path : str or path-like
        The name or tag of a packaged model (`list_models`), or the path of a weights file.
    device : str or `torch.device`, optional
        Where to put it.

    Returns
    -------
    `torch.nn.Module`
        A new one at every call, in evaluation mode and single precision, with attributes ``grid``
        (`~specz_cnn.io.grid.ModelGrid`) and ``info`` (`ModelInfo`).

    Raises
    ------
    WeightsError
        If there is no such model, or the file is damaged, altered, a pickle, of an unknown schema or preprocessing, or
        its tensors are not exactly those of the architecture.
    """
    from specz_cnn.models.forks import one_thread_in_forks

    path, sha256 = resolve_model(name_or_path)
    try:
        if sha256 is not None and _file_sha256(path) != sha256:
            raise WeightsError("it is not the packaged file: its SHA-256 differs from the one in index.json")
        with one_thread_in_forks():
            return _load_file(path).to(device)
    except WeightsError as error:
        raise WeightsError(f"cannot load {path}: {error}") from None
    except FileNotFoundError:
        raise WeightsError(f"cannot load {path}: the packaged file is missing") from None


def _load_file(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from specz_cnn.models import compact

    info = _read_header(path)
    try:
        network = _network(info)
    except WeightsError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise WeightsError(f"{info.architecture} does not take {info.arguments} ({error})") from None
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"it is not a safetensors file, or damaged ({error})") from None
    sha256 = _sha256(tensors, info)
    tensors = compact.unpack(tensors)
    _check_tensors(network, tensors)
    if sha256 != info.sha256:
        raise WeightsError("it was altered: the SHA-256 of its tensors and metadata is not the one it states")
    tensors = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    network.load_state_dict(tensors, strict=True, assign=True)
    network.eval()
    network.grid, network.info = info.model_grid, info
    return network


def superseded_models() -> dict[str, dict[str, Any]]:
    """Facts about weights that left the package.

    Returns
    -------
    dict of str to dict
        By tag: ``sha256`` of the file; ``model_sha256``, which results state; the tag ``superseded_by`` which its name
        went on to; ``name``, ``architecture``, ``z_range``, ``created``, ``description``.
    """
    return copy.deepcopy(_index(WEIGHTS_DIRECTORY).get("superseded", {}))
