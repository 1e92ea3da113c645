"""What a network says about spectra: the device it runs on, its output in the form that a posterior is made from."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from specz_cnn.models.forks import one_thread_in_forks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike
    from torch import nn

    from specz_cnn.typing import Device

__all__ = ["network_output", "resolve_device"]


def resolve_device(device: Device = None) -> torch.device:
    """The torch device to compute on.

    Parameters
    ----------
    device : str, `torch.device` or None
        None means CUDA if there is one, else the CPU.

    Returns
    -------
    `torch.device`

    Raises
    ------
    RuntimeError
        If CUDA is asked for and there is none.
    ValueError
        If there is no such kind of device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no such device: {device!r} ({str(error).split(':')[0]})") from None
    if device.type not in ("cpu", "cuda"):
        # The others lack double precision or Fourier transforms, or hold no numbers at all.
        raise ValueError(f"no such device: {str(device)!r}; networks run on cpu and cuda")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RuntimeError(
                f"device {str(device)!r} was asked for, but this machine has {count} CUDA devices"
            )
    return device


def _exact(device):
    """A context in which convolutions on CUDA are computed in full single precision."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


@one_thread_in_forks()
def network_output(
    network: nn.Module, flux: ArrayLike, ivar: ArrayLike, inputs: dict | None = None
) -> np.ndarray:
    """Prepare spectra for a network, run it, and bring its output to the form that `specz_cnn.redshift.posterior` takes.

    Parameters
    ----------
    network : `torch.nn.Module`
        From `specz_cnn.load_model`.
    flux, ivar : `~numpy.ndarray` or `torch.Tensor`, shape (n, n_pixels)
        On the network's grid.
    inputs : dict, optional
        Where what enters a network is kept for the next one that prepares these spectra in the same way, on the same grid.

    Returns
    -------
    `~numpy.ndarray`, float64
        One of the forms that `specz_cnn.models.network` describes: logits, shape (n, n_bins + 1) or (n, n_bins + 2), or
        ln(1 + z) and its standard deviation, shape (n, 2).
    """
    kind = getattr(network, "architecture", type(network))
    device = next(network.parameters()).device
    inputs = {} if inputs is None else inputs
    key = network.grid, kind.preprocess, device
    with torch.inference_mode(), _exact(device):
        if key not in inputs:
            # Prepared on the CPU, so that the input of the network is the same to the last bit on every device.
            x = kind.preprocess(torch.as_tensor(flux), torch.as_tensor(ivar))
            inputs[key] = x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x
        return kind.read(network, inputs[key]).cpu().numpy()
