"""From flux and inverse variance on a :class:`~specz_cnn.io.grid.ModelGrid` to the input of a network.

One function, :func:`standardise`, serves simulation, training and inference.  Everything in it is invariant when the
flux is multiplied by a positive number (and the inverse variance by its inverse square).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["PREPROCESS_VERSION", "standardise"]

#: Goes into the metadata of weights; weights made for another version are refused.
PREPROCESS_VERSION = 1

_CLIP_PASS = (
    6.0  # first pass: clip at this many standard deviations before the final mean and standard deviation
)
_CLIP_LOW, _CLIP_HIGH = -8.0, 16.0  # final bounds; Lyman-alpha of a strong-lined quasar peaks near 10
_WEIGHT_SCALE, _WEIGHT_CLIP = 0.25, 4.0
_ROWS = 32  # prepared at a time on a CPU, so that arrays stay in its cache
_LARGEST = 1e30  # inverse variance beyond this would overflow when summed or multiplied in single precision


def standardise(flux: ArrayLike | torch.Tensor, ivar: ArrayLike | torch.Tensor) -> torch.Tensor:
    """Two channels that networks read: standardised flux, and how well each pixel is known.

    The flux becomes ``(flux - mean) / std``, mean and standard deviation taken over good pixels with saturating
    weights ``ivar / (ivar + <ivar>)`` after one pass of clipping, so that neither a noisy end nor a cosmic ray sets the
    scale; it is then multiplied by the Wiener factor ``1 / (1 + noise variance)``, which keeps noisy pixels from
    dominating.  The second channel is ``0.25 log2(1 + 1 / noise variance)``.  Both are zero where there is no data.

    Parameters
    ----------
    flux, ivar : `torch.Tensor` or array_like, shape (batch, n_pixels)
        Flux density and inverse variance on the model grid; ``ivar = 0`` means no data.

    Returns
    -------
    `torch.Tensor`, float32, shape (batch, 2, n_pixels)
        All zeros for a spectrum without good pixels or without any contrast.
    """
    flux = torch.as_tensor(flux, dtype=torch.float32)
    ivar = torch.as_tensor(ivar, dtype=torch.float32)
    standard = flux.new_empty(len(flux), 2, flux.shape[1])
    size = _ROWS if flux.device.type == "cpu" else max(len(flux), 1)
    for rows in zip(standard.split(size), flux.split(size), ivar.split(size), strict=True):
        _standardise(*rows)
    return standard


def _standardise(standard, flux, ivar):
    """Write the channels of a few spectra into ``standard``."""
    # Comparisons with NaN are false.
    good = (ivar > 0) & (ivar < math.inf) & (flux.abs() < math.inf)
    flux = torch.where(good, flux, 0.0)
    # Flux of any unit: bring the typical value to one before anything is squared in single precision.
    scale = flux.abs().sum(1, keepdim=True) / good.sum(1, keepdim=True).clamp(min=1)
    scale = torch.where(torch.isfinite(scale), scale, flux.abs().amax(1, keepdim=True))  # the sum overflowed
    scale = torch.where(scale > 0, scale, 1.0)
    flux = flux / scale
    ivar = torch.where(good, ivar * scale * scale, 0.0).clamp(max=_LARGEST)
    weight = ivar / (ivar + ivar.sum(1, keepdim=True) / good.sum(1, keepdim=True).clamp(min=1) + 1e-30)
    total = weight.sum(1, keepdim=True).clamp(min=1e-30)

    def moments(values):
        mean = (weight * values).sum(1, keepdim=True) / total
        variance = (weight * (values - mean) ** 2).sum(1, keepdim=True) / total
        return mean, variance.sqrt()

    mean, std = moments(flux)
    clipped = torch.minimum(torch.maximum(flux, mean - _CLIP_PASS * std), mean + _CLIP_PASS * std)
    mean, std = moments(clipped)
    has_contrast = std > 1e-6 * mean.abs()
    std = torch.where(has_contrast, std, 1.0)
    precision = ivar * std * std
    shrink = precision / (1.0 + precision)
    seen = good & has_contrast
    x = ((flux - mean) / std).clamp_(_CLIP_LOW, _CLIP_HIGH).mul_(shrink)
    known = (1.0 + precision).log2_().mul_(_WEIGHT_SCALE).clamp_(max=_WEIGHT_CLIP)
    torch.mul(x, seen, out=standard[:, 0])
    torch.mul(known, seen, out=standard[:, 1])
