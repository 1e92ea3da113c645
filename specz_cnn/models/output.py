"""What a network says about spectra: the device it runs on, its output in the form that a posterior is made from."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from specz_cnn.models.inference import prepare_for_inference
from specz_cnn.models.preprocess import standardise

__all__ = ["network_output", "resolve_device"]

# Monte-Carlo dropout of networks that return one number.
_DROPOUT_SAMPLES = 16
_DROPOUT_SEED = 20220421
_DROPOUT_RATE = 0.1  # for networks trained without


def resolve_device(device=None):
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


def network_output(network, flux, ivar):
    """Standardise spectra, run a network, and bring its output to the form that `specz_cnn.redshift.posterior` takes.

    Parameters
    ----------
    network : `torch.nn.Module`
        From `specz_cnn.load_model`.
    flux, ivar : `~numpy.ndarray` or `torch.Tensor`, shape (n, n_pixels)
        On the network's grid.

    Returns
    -------
    `~numpy.ndarray`, float64
        Logits, shape (n, n_bins + 1); or ln(1 + z) and the standard deviation of its Monte-Carlo samples, shape (n, 2).
    """
    device = next(network.parameters()).device
    with torch.inference_mode(), _exact(device):
        # Standardised on the CPU, so that the input of the network is the same to the last bit on every device.
        x = standardise(torch.as_tensor(flux), torch.as_tensor(ivar))
        if device.type == "cuda":
            x = x.pin_memory().to(device, non_blocking=True)
        if network.info.bins is not None:
            return network(x).double().cpu().numpy()
        target = network.info.target
        number, spread = _dropout_samples(network, x)
        mean = number * target["std"] + target["mean"]
        return torch.stack([mean, spread * target["std"]], 1).cpu().numpy()


def _dropout_samples(network, x):
    """Output of a `~specz_cnn.models.RNet` without dropout, and the standard deviation of its outputs with it.

    Every spectrum meets the same fixed set of dropped activations, so that a result depends on nothing but the
    spectrum.
    """
    if not hasattr(network, "convolutions"):
        network = prepare_for_inference(network)
    activations = network.convolutions(x)
    number = network.head(network.fc1(activations))[:, 0].double()
    rate = network.drop_out.p or _DROPOUT_RATE
    generator = torch.Generator().manual_seed(_DROPOUT_SEED)
    size = _DROPOUT_SAMPLES, activations.shape[1]
    # Of stated type: torch's default type decides which numbers are drawn.
    keep = torch.rand(size, generator=generator, dtype=torch.float32) >= rate
    masks = (keep / (1 - rate)).to(activations)
    samples = torch.stack([network.head(network.fc1(activations * mask))[:, 0] for mask in masks], 1).double()
    return number, samples.std(1)
