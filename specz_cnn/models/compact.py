"""Large matrices in 8 bits a weight, as weights files hold them.

A matrix of a million weights or more is stored as integers from -127 to 127, and for each run of 128 weights of a row the
step by which they are multiplied, in single precision.  That halves the size against half precision, and loses less than
training leaves undetermined.  Steps have 16 significant bits, so that the largest weight of each run, 127 steps, is exact:
what was read and is stored again stays the same to the last bit.
"""

from __future__ import annotations

from specz_cnn.models.info import WeightsError

__all__ = ["LARGE", "pack", "unpack"]

#: Matrices of at least so many weights are stored in 8 bits.
LARGE = 1_000_000
_RUN = 128  # weights that share a step
_LEVELS = 127
_SUFFIX = ".step"  # of the name of the tensor with the steps


def pack(name, tensor):
    """A matrix as integers and steps.

    Parameters
    ----------
    name : str
        Name of the parameter.
    tensor : `torch.Tensor`, floating point and finite, two or more dimensions
        The first one counts the rows.

    Returns
    -------
    dict of str to `torch.Tensor`
        ``name``: int8, of the same shape; ``name.step``: float32, shape (rows, runs in a row).
    """
    import torch

    rows = _runs(tensor.double())
    largest = rows.abs().amax(2)
    exponent = torch.floor(torch.log2(largest.clamp_min(1e-30) / _LEVELS)) - 15
    step = torch.ceil(largest / _LEVELS * 2.0**-exponent) * 2.0**exponent
    step[largest == 0] = 1.0
    quantised = torch.round(rows / step[:, :, None]).to(torch.int8)
    return {name: _matrix(quantised, tensor.shape), name + _SUFFIX: step.float()}


def unpack(tensors):
    """Tensors as a network takes them, from those of a weights file.

    Parameters
    ----------
    tensors : dict of str to `torch.Tensor`

    Returns
    -------
    dict of str to `torch.Tensor`
        Matrices stored by `pack` in single precision, all others as they are.

    Raises
    ------
    WeightsError
        If steps are missing, of another shape or type, or no steps.
    """
    import torch

    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int8:
            continue
        step = found.pop(name + _SUFFIX, None)
        if step is None or tensor.dim() < 2:
            raise WeightsError(f"tensor {name} has 8 bits a weight, and no steps")
        runs = _runs(tensor)
        if step.dtype != torch.float32 or step.shape != runs.shape[:2]:
            raise WeightsError(f"tensor {name + _SUFFIX} has shape {tuple(step.shape)}, not that of {name}")
        if not bool((torch.isfinite(step) & (step > 0)).all()):
            raise WeightsError(f"tensor {name + _SUFFIX} has steps that are not positive numbers")
        found[name] = _matrix(runs * step[:, :, None], tensor.shape)
    return found


def _runs(tensor):
    """A matrix with its rows cut into runs, the last one filled with zeros: shape (rows, runs, 128)."""
    import torch

    rows = tensor.flatten(1)
    return torch.nn.functional.pad(rows, (0, -rows.shape[1] % _RUN)).unflatten(1, (-1, _RUN))


def _matrix(runs, shape):
    """The inverse of `_runs`."""
    return runs.flatten(1)[:, : shape[1:].numel()].reshape(shape).contiguous()
