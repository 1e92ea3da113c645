"""Where training examples come from: the simulator, real spectra on disk, or a mixture.

A source is a function of the step number, so that a resumed run sees the same examples as an undisturbed one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specz_cnn.models.preprocess import standardise

__all__ = ["Examples", "MixedSource", "ShardSource", "SimulatedSource"]


@dataclass(frozen=True)
class Examples:
    """A batch ready for a network: ``x``, the input (n, ...), ``z`` (n,), ``is_quasar`` (n,), ``is_bal`` (n,) or None.

    ``is_bal`` is 1 for a quasar with broad absorption lines, 0 for other spectra, NaN where nobody knows.
    """

    x: torch.Tensor
    z: torch.Tensor
    is_quasar: torch.Tensor
    is_bal: torch.Tensor | None = None

    @classmethod
    def of(cls, made, preprocess):
        """From a `SimulatedBatch`, with the `Network.preprocess` of an architecture."""
        return cls(preprocess(made.flux, made.ivar), made.z, made.label == 0, made.is_bal.to(made.z))

    def part(self, rows):
        """Some of the examples."""
        is_bal = None if self.is_bal is None else self.is_bal[rows]
        return Examples(self.x[rows], self.z[rows], self.is_quasar[rows], is_bal)


class SimulatedSource:
    """Fresh simulated spectra at every step, drawn a few batches at a time.

    Parameters
    ----------
    simulator : Simulator
    batch_size : int
    seed : int
    preprocess : callable
        `Network.preprocess` of an architecture.
    blocks : int
        Batches made in one call of the simulator, which is cheaper than one by one.
    """

    def __init__(self, simulator, batch_size, seed, preprocess=standardise, *, blocks=8):
        self.simulator, self.batch_size, self.seed, self.blocks = simulator, batch_size, seed, blocks
        self.preprocess, self._block = preprocess, (None, None)

    def batch(self, step):
        """The examples of step number ``step``."""
        block, place = divmod(step, self.blocks)
        if self._block[0] != block:
            made = self.simulator.draw(self.batch_size * self.blocks, self.seed * 1_000_003 + block)
            self._block = block, Examples.of(made, self.preprocess)
        rows = slice(place * self.batch_size, (place + 1) * self.batch_size)
        made = self._block[1]
        return made.part(rows)


class ShardSource:
    """Real spectra from memory-mapped shards (:mod:`specz_cnn.training.shards`), shifted and dimmed at random.

    A shift of the whole spectrum by whole pixels is a change of redshift; added noise is a fainter object.

    Parameters
    ----------
    directory : path-like
    batch_size : int
    seed : int
    max_shift : int
        Largest shift in pixels, to either side.
    max_dimming : float
        Largest factor by which the S/N of an example is lowered (log-uniform).
    z_min, z_max : float
        Quasars outside are left out; shifts keep inside.
    preprocess : callable
        `Network.preprocess` of an architecture.
    device : str or `torch.device`
    """

    def __init__(
        self,
        directory,
        batch_size,
        seed,
        *,
        max_shift=0,
        max_dimming=1.0,
        z_min=0.0,
        z_max=7.1,
        preprocess=standardise,
        device="cpu",
    ):
        self.directory = Path(directory)
        info = json.loads((self.directory / "shards.json").read_text())
        self.batch_size, self.seed, self.step = batch_size, seed, info["pixel_step"]
        self.max_shift, self.max_dimming, self.z_min, self.z_max = max_shift, max_dimming, z_min, z_max
        self.device, self.preprocess = torch.device(device), preprocess
        self._flux = [np.load(self.directory / f"{name}-flux.npy", mmap_mode="r") for name in info["shards"]]
        self._ivar = [np.load(self.directory / f"{name}-ivar.npy", mmap_mode="r") for name in info["shards"]]
        labels = [np.load(self.directory / f"{name}-labels.npy") for name in info["shards"]]
        self._place = np.concatenate(
            [np.stack([np.full(len(x), i), np.arange(len(x))], 1) for i, x in enumerate(labels)]
        )
        labels = np.concatenate(labels)
        quasar = labels["is_quasar"]
        usable = ~quasar | ((labels["z"] >= z_min) & (labels["z"] < z_max))
        if not usable.any():
            raise ValueError(f"no usable spectra in {self.directory}")
        self._place, self._labels = self._place[usable], labels[usable]
        self._chance = self._labels["weight"] / self._labels["weight"].sum()

    def __len__(self):
        return len(self._labels)

    def batch(self, step):
        """The examples of step number ``step``."""
        rng = np.random.default_rng([self.seed, step])
        rows = rng.choice(len(self), self.batch_size, p=self._chance)
        flux = np.stack([self._flux[i][j] for i, j in self._place[rows]]).astype(np.float32)
        ivar = np.stack([self._ivar[i][j] for i, j in self._place[rows]]).astype(np.float32)
        z = self._labels["z"][rows].astype(np.float64)
        quasar = self._labels["is_quasar"][rows]
        if self.max_shift:
            shift = rng.integers(-self.max_shift, self.max_shift + 1, len(rows)) * quasar
            shifted = np.expm1(np.log1p(z) + shift * self.step)
            shift = np.where((shifted >= self.z_min) & (shifted < self.z_max), shift, 0)
            z = np.expm1(np.log1p(z) + shift * self.step)
            flux, ivar = _shift_rows(flux, shift), _shift_rows(ivar, shift)
        if self.max_dimming > 1:
            factor = np.exp(rng.uniform(0, np.log(self.max_dimming), (len(rows), 1))).astype(np.float32)
            extra = np.sqrt(factor**2 - 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                sigma = np.where(ivar > 0, 1 / np.sqrt(ivar), 0)
            flux = flux + extra * sigma * rng.standard_normal(flux.shape, dtype=np.float32)
            ivar = ivar / factor**2
        x = self.preprocess(torch.from_numpy(flux), torch.from_numpy(ivar)).to(self.device)
        z = torch.from_numpy(z.astype(np.float32)).to(self.device)
        quasar = torch.from_numpy(quasar.copy()).to(self.device)
        return Examples(x, z, quasar, torch.where(quasar, torch.nan, torch.zeros_like(z)))


def _shift_rows(values, shift):
    """Move each row ``shift`` pixels to the red, filling with zeros."""
    n = values.shape[1]
    index = np.arange(n)[None, :] - shift[:, None]
    inside = (index >= 0) & (index < n)
    return np.where(inside, np.take_along_axis(values, np.clip(index, 0, n - 1), 1), 0).astype(values.dtype)


class MixedSource:
    """Several sources joined, each giving its own number of examples to every batch."""

    def __init__(self, sources):
        self.sources = list(sources)

    def batch(self, step):
        """The examples of step number ``step``."""
        parts = [source.batch(step) for source in self.sources]
        names = ("x", "z", "is_quasar", "is_bal")
        return Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
