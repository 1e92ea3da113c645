"""The networks: RNet as published, RNet with p(z), the equivariant RNet-E, and the registry of trained weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from specz_cnn.models.info import ModelInfo, WeightsError
from specz_cnn.models.packaging import package_model
from specz_cnn.models.registry import (
    list_models,
    load_model,
    model_info,
    save_model,
)

if TYPE_CHECKING:
    from specz_cnn.models.fnet import FNet, FNetCoarse
    from specz_cnn.models.quasarnet import QuasarNET
    from specz_cnn.models.rnet import RNet, RNetPZ
    from specz_cnn.models.rnet_e import RNetE

__all__ = [
    "FNet",
    "FNetCoarse",
    "ModelInfo",
    "QuasarNET",
    "RNet",
    "RNetE",
    "RNetPZ",
    "WeightsError",
    "list_models",
    "load_model",
    "model_info",
    "package_model",
    "save_model",
]

# The networks import torch, which takes a second; the registry does not.
_LAZY = {
    "FNet": "fnet",
    "FNetCoarse": "fnet",
    "QuasarNET": "quasarnet",
    "RNet": "rnet",
    "RNetPZ": "rnet",
    "RNetE": "rnet_e",
}


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name in _LAZY:
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
