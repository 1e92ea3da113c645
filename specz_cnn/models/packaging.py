"""Weights come into the package, and leave it."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from specz_cnn.io.whole import write_whole
from specz_cnn.models import registry
from specz_cnn.models.info import WeightsError
from specz_cnn.models.registry import _index, _read_header, load_model

if TYPE_CHECKING:
    from specz_cnn.typing import PathLike


__all__ = ["package_model", "retire_model"]


def package_model(path: PathLike, *, name: str | None = None, directory: PathLike | None = None) -> Path:
    """Put a weights file among the packaged ones, and point a name at it.

    Parameters
    ----------
    path : path-like
        A file made by `save_model`; it is loaded first, as a check.
    name : str, optional
        The name that stands for it from now on; the info's name if not given.
    directory : path-like, optional
        Directory of the packaged weights.

    Returns
    -------
    `~pathlib.Path`
        The packaged file, named after the tag and the start of its SHA-256.

    Raises
    ------
    WeightsError
        If the file cannot be loaded, or its tag is already given to other weights.
    """
    directory = registry.WEIGHTS_DIRECTORY if directory is None else Path(directory)
    info = load_model(Path(path)).info
    index = copy.deepcopy(_index(directory))
    content = Path(path).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    known = index["models"].get(info.tag) or index.get("superseded", {}).get(info.tag)
    if known is not None and known["sha256"] != sha256:
        raise WeightsError(f"the tag {info.tag!r} is already given to other weights, and tags never change")
    file = f"{info.tag}-{sha256[:8]}.safetensors"
    directory.mkdir(exist_ok=True)
    _write(directory / file, content)
    index["models"][info.tag] = {"file": file, "sha256": sha256}
    index["names"][name or info.name] = info.tag
    index.get("superseded", {}).pop(info.tag, None)
    _write_index(directory, index)
    return directory / file


def retire_model(tag: str, *, directory: PathLike | None = None) -> None:
    """Take weights that no name stands for any more out of the package.

    The file is deleted.  The tag, which is never given to other weights, the SHA-256 of the file and the facts about
    it stay in the index.

    Parameters
    ----------
    tag : str
    directory : path-like, optional
        Directory of the packaged weights.

    Raises
    ------
    WeightsError
        If there are no such weights, or no newer ones have taken their name.
    """
    directory = registry.WEIGHTS_DIRECTORY if directory is None else Path(directory)
    index = copy.deepcopy(_index(directory))
    entry = index["models"].pop(tag, None)
    if entry is None:
        raise WeightsError(f"no weights {tag!r} are packaged")
    info = _read_header(directory / entry["file"])
    successor = index["names"].get(info.name)
    if tag in index["names"].values() or successor is None:
        raise WeightsError(f"the weights {tag!r} are in use: nothing newer has taken their name")
    facts = {key: getattr(info, key) for key in ("name", "architecture", "z_range", "created", "description")}
    index.setdefault("superseded", {})[tag] = {
        "sha256": entry["sha256"],
        "model_sha256": info.sha256,
        "superseded_by": successor,
        **facts,
    }
    _write_index(directory, index)
    (directory / entry["file"]).unlink()


def _write_index(directory, index):
    _write(directory / "index.json", (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())


def _write(path, content):
    with write_whole(path) as part:
        part.write_bytes(content)
