"""What a network is, apart from its parameters: the metadata of a weights file, and how they are checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from specz_cnn.io.grid import ModelGrid

__all__ = ["FRAMES", "SCHEMA_VERSION", "ModelInfo", "WeightsError"]

#: Version of the metadata; files of another version are refused.
SCHEMA_VERSION = 1
#: Frames that redshifts are in.
FRAMES = "sdss", "systemic"
_OLD_FRAME = "sdss"
_MAX_PIXELS = 100_000


class WeightsError(ValueError):
    """A weights file that is damaged, altered, unknown, or of another kind."""


@dataclass(frozen=True)
class ModelInfo:
    """Everything about a network but its parameters.

    Parameters
    ----------
    name : str
        What people call it, for example ``"rnet-e"``.
    tag : str
        The name of exactly these weights, for example ``"rnet-e-4"``; a tag is never given twice.
    architecture : str
        Class of the network, one of `specz_cnn.models.network.architectures`.
    arguments : dict
        Keyword arguments of the class.
    grid : dict
        Arguments of the `~specz_cnn.io.grid.ModelGrid` of the input.
    bins : dict or None
        ``{"n": K, "step": width in ln(1 + z)}``: the K redshift bins of the output, the first from z = 0.
    target : dict or None
        ``{"mean": m, "std": s}`` for a network that returns ``(ln(1 + z) - m) / s``.  Exactly one of ``bins`` and
        ``target`` is given.
    z_range : tuple of float
        Redshifts the network was trained for.
    frame : str
        Of the redshifts that it answers with: "sdss", that of the survey's pipeline and catalogues, or "systemic", that of the
        maximum of Mg II.
    calibration : dict
        See `specz_cnn.redshift.posterior`; empty means the identity.
    recipe, data, metrics : dict
        How it was trained, on what, and how well it does.
    seed : int or None
        Seed of the training.
    description, licence : str
        A sentence for `list` commands; the licence of the weights.
    preprocess_version, schema : int
        Versions of the preprocessing and of the metadata.
    package_version, created : str
        Version of the package that wrote the file, and when (UTC, ISO).
    sha256 : str
        SHA-256 of the tensors as stored and of all the above: results of equal ``sha256`` were made alike.
    """

    name: str
    tag: str
    architecture: str
    arguments: dict
    grid: dict
    bins: dict | None = None
    target: dict | None = None
    z_range: tuple = (0.0, 7.1)
    frame: str = "sdss"
    calibration: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    seed: int | None = None
    description: str = ""
    licence: str = "BSD-3-Clause"
    preprocess_version: int = 1
    schema: int = SCHEMA_VERSION
    package_version: str = ""
    created: str = ""
    sha256: str = ""

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Read and check the JSON document of a weights file.

        Raises
        ------
        WeightsError
            With the reason, if it is not one that this version can use.
        """
        try:
            values = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise WeightsError(f"its metadata are not JSON ({error})") from None
        if not isinstance(values, dict):
            raise WeightsError("its metadata are not a JSON object")
        if values.get("schema") != SCHEMA_VERSION:
            raise WeightsError(f"it has metadata of schema {values.get('schema')!r}, not {SCHEMA_VERSION}")
        unknown = set(values) - {f.name for f in fields(cls)}
        missing = {"name", "tag", "architecture", "arguments", "grid", "preprocess_version", "sha256"} - set(
            values
        )
        if unknown or missing:
            raise WeightsError(f"its metadata lack {sorted(missing)} or have unknown {sorted(unknown)}")
        try:
            info = cls(**{**values, "z_range": tuple(map(float, values.get("z_range", (0.0, 7.1))))})
            info.check()
        except (TypeError, AttributeError, KeyError) as error:
            raise WeightsError(f"its metadata are malformed ({error})") from None
        return info

    def to_json(self) -> str:
        """The JSON document, compact, keys sorted."""
        values = asdict(self)
        if self.frame == _OLD_FRAME:  # older files, which do not state it, keep their checksums
            del values["frame"]
        return json.dumps(_plain(values), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def check(self) -> None:
        """Raise `WeightsError` if the parts do not fit together."""
        # Whether it exists is known only to the modules of the networks, which import torch.
        if not (isinstance(self.architecture, str) and self.architecture.isidentifier()):
            raise WeightsError(f"architecture {self.architecture!r} is no name")
        n_pixels = self.grid["n_pixels"]
        if not 1 <= n_pixels <= _MAX_PIXELS or n_pixels != self.arguments.get("n_pixels", n_pixels):
            raise WeightsError(f"grid {self.grid} does not fit arguments {self.arguments}")
        if (self.bins is None) == (self.target is None):
            raise WeightsError("exactly one of bins and target must be given")
        if self.bins is not None and not (0 < self.bins["n"] <= _MAX_PIXELS and self.bins["step"] > 0):
            raise WeightsError(f"impossible redshift bins {self.bins}")
        if self.bins is not None and self.bins["n"] != self.arguments.get("n_bins", self.bins["n"]):
            raise WeightsError(f"bins {self.bins} do not fit arguments {self.arguments}")
        if self.target is not None and not self.target["std"] > 0:
            raise WeightsError(f"impossible target {self.target}")
        if self.frame not in FRAMES:
            raise WeightsError(f"frame {self.frame!r} is none of {FRAMES}")
        low, high = self.z_range
        if not -1 < low < high:
            raise WeightsError(f"impossible redshift range {self.z_range}")

    @property
    def model_grid(self) -> ModelGrid:
        """The `~specz_cnn.io.grid.ModelGrid` of the input."""
        return ModelGrid(**self.grid)


def _plain(value):
    """The same in types that JSON knows; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
