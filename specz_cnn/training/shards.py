"""Real spectra as memory-mapped shards on a model grid, for training and validation.

A shard is three ``.npy`` files: ``NAME-flux.npy`` and ``NAME-ivar.npy`` (n, n_pixels), and ``NAME-labels.npy``, a
structured array with ``plate, mjd, fiber, z, is_quasar, snr, weight``.  ``shards.json`` lists the finished ones, with the
grid.  Writing resumes after the last finished shard.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from specz_cnn.io.whole import write_whole

__all__ = ["LABEL_DTYPE", "ShardWriter", "read_shards"]

LABEL_DTYPE = np.dtype(
    [
        ("plate", "i4"),
        ("mjd", "i4"),
        ("fiber", "i4"),
        ("z", "f8"),
        ("is_quasar", "?"),
        ("snr", "f4"),
        ("weight", "f4"),
    ]
)


class ShardWriter:
    """Append spectra to a directory of shards.

    Parameters
    ----------
    directory : path-like
    grid : ModelGrid
    shard_size : int
        Spectra per shard.
    inputs : str
        What tells these inputs from others: shards of others are not continued.

    Attributes
    ----------
    n_finished : int
        Spectra in finished shards: a resumed run skips as many inputs.
    """

    def __init__(self, directory, grid, *, shard_size=8192, inputs=""):
        self.directory, self.grid, self.shard_size = Path(directory), grid, shard_size
        self.directory.mkdir(parents=True, exist_ok=True)
        self._index, self._origin = self.directory / "shards.json", inputs
        self._names, self.n_finished = [], 0
        if self._index.exists():
            info = json.loads(self._index.read_text())
            if info["grid"] != grid.to_dict():
                raise ValueError(f"{self.directory} holds shards of another grid: {info['grid']}")
            if info.get("inputs", "") != inputs:
                raise ValueError(
                    f"{self.directory} holds shards of another catalogue; choose another directory"
                )
            self._names, self.n_finished = info["shards"], info["n_inputs"]
        self._flux, self._ivar, self._labels, self._inputs = [], [], [], 0

    def add(self, flux, ivar, label):
        """Add one spectrum on the grid with its label, a tuple in the order of ``LABEL_DTYPE``; None skips an input."""
        self._inputs += 1
        if label is not None:
            # Scaled to a typical flux of one, so that half precision holds any unit.
            good = ivar > 0
            scale = np.abs(flux[good]).mean() if good.any() else 1.0
            scale = scale if scale > 0 else 1.0
            self._flux.append(np.clip(flux / scale, -6e4, 6e4).astype(np.float16))
            self._ivar.append(np.clip(ivar * scale**2, 0, 6e4).astype(np.float16))
            self._labels.append(label)
        if len(self._labels) == self.shard_size:
            self.flush()

    def flush(self):
        """Write what is pending as a shard, and the index."""
        if self._labels:
            name = f"shard-{len(self._names):05d}"
            labels = np.array([tuple(x) for x in self._labels], LABEL_DTYPE)
            for kind, values in (
                ("flux", np.stack(self._flux)),
                ("ivar", np.stack(self._ivar)),
                ("labels", labels),
            ):
                _save(self.directory / f"{name}-{kind}.npy", values)
            self._names.append(name)
        self.n_finished += self._inputs
        self._flux, self._ivar, self._labels, self._inputs = [], [], [], 0
        info = {
            "grid": self.grid.to_dict(),
            "pixel_step": self.grid.step,
            "shards": self._names,
            "n_inputs": self.n_finished,
            "inputs": self._origin,
        }
        with write_whole(self._index) as part:
            part.write_text(json.dumps(info, indent=1))


def _save(path, values):
    with write_whole(path) as part:
        np.save(part, values)


def read_shards(directory, *, limit=None):
    """All spectra of a directory of shards, in memory.

    Parameters
    ----------
    directory : path-like
    limit : int, optional
        Read at most so many, evenly spread.

    Returns
    -------
    flux, ivar : `~numpy.ndarray`, float32, shape (n, n_pixels)
    labels : `~numpy.ndarray`, structured, shape (n,)
    """
    directory = Path(directory)
    info = json.loads((directory / "shards.json").read_text())
    labels = [np.load(directory / f"{name}-labels.npy") for name in info["shards"]]
    if not labels:
        empty = np.empty((0, info["grid"]["n_pixels"]), np.float32)
        return empty, empty, np.empty(0, LABEL_DTYPE)
    total = sum(map(len, labels))
    keep = np.arange(total)
    if limit is not None and total > limit:
        keep = (np.arange(limit) * total) // limit
    kinds = {"flux": [], "ivar": []}
    first = 0
    for name, some in zip(info["shards"], labels, strict=True):
        rows = keep[(keep >= first) & (keep < first + len(some))] - first
        for kind, parts in kinds.items():
            values = np.load(directory / f"{name}-{kind}.npy", mmap_mode="r")
            parts.append(values[rows].astype(np.float32))
        first += len(some)
    return *(np.concatenate(parts) for parts in kinds.values()), np.concatenate(labels)[keep]
