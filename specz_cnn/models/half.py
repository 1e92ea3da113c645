"""RNet-pz in half precision (bfloat16), for processors that multiply matrices in it: a third of the time, 1 % of the precision.

Good for a second opinion, of which only the peak counts.  Filters are applied directly, which such processors do faster than
through the FFT, in tiles: ``tile`` neighbouring pixels become one with ``tile`` times the channels, first those with even
numbers, then those with odd ones, so that pooling by two is the larger of two halves of memory.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["HalfRNetPZ", "has_matrix_units"]

_CHUNK = 32  # spectra per thread, whose intermediate results fit a core's cache
_DENSE_CHUNK = 256
_TILES = 8, 2, 2  # pixels, for each of the three convolutions


def has_matrix_units():
    """Whether this processor has units for products of matrices in half precision, and torch says so."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported()) and torch.backends.mkldnn.is_available()


class _TiledConvolution(nn.Module):
    """`torch.nn.Conv1d` (stride 1, no padding), ReLU and pooling by two, pixels and channels side by side in memory."""

    def __init__(self, convolution, n, tile):
        super().__init__()
        weight = convolution.weight
        n_out, n_in, kernel = weight.shape
        self.tile, self.n_in = tile, n_in
        self.n_pooled = (n - kernel + 1) // 2
        reach = -(-(kernel + tile - 1) // tile)  # tiles that a tile of the output needs
        self.n_tiles = -(-2 * self.n_pooled // tile) + reach - 1
        order = [*range(0, tile, 2), *range(1, tile, 2)]
        tiles = weight.new_zeros(tile, n_out, n_in, reach * tile)
        for place, pixel in enumerate(order):
            tiles[place, :, :, pixel : pixel + kernel] = weight
        # (pixel out, out, in, tiles, pixel in) to (pixel out x out, pixel in x in, 1, tiles).
        tiles = tiles.unflatten(3, (reach, tile)).permute(0, 1, 4, 2, 3).flatten(2, 3).flatten(0, 1)
        tiles = tiles.unsqueeze(2).to(torch.bfloat16)
        self.register_buffer("weight", tiles.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", convolution.bias.repeat(tile).to(torch.bfloat16))

    def forward(self, x):
        """(batch, n, in) to (batch, pooled, out)."""
        missing = self.n_tiles * self.tile - x.shape[1]
        if missing > 0:
            x = nn.functional.pad(x, (0, 0, 0, missing))
        tiles = x[:, : self.n_tiles * self.tile].reshape(len(x), 1, self.n_tiles, self.tile * self.n_in)
        y = nn.functional.conv2d(tiles.permute(0, 3, 1, 2), self.weight, self.bias)
        even, odd = y.permute(0, 2, 3, 1)[:, 0].chunk(2, dim=2)
        pooled = torch.maximum(even, odd).clamp_min_(0.0)
        return pooled.unflatten(2, (self.tile // 2, -1)).flatten(1, 2)[:, : self.n_pooled]


class HalfRNetPZ(nn.Module):
    """`~specz_cnn.models.RNetPZ` for a second opinion; made by its ``for_opinion``."""

    def __init__(self, network):
        super().__init__()
        n = self.n_pixels = network.n_pixels
        self.layers = nn.ModuleList()
        for layer, tile in zip((network.layer1, network.layer2, network.layer3), _TILES, strict=True):
            self.layers.append(_TiledConvolution(layer[0], n, tile))
            n = self.layers[-1].n_pooled
        # Pixels before channels.
        first, *rest = network.fc1
        weight = first.weight.unflatten(1, (-1, n)).transpose(1, 2).flatten(1)
        self.register_buffer("weight", weight.to(torch.bfloat16).contiguous())
        bias = weight.new_zeros(len(weight)) if first.bias is None else first.bias
        self.register_buffer("bias", bias.to(torch.bfloat16))
        # Logits of one part in 256 would be felt; these layers are small.
        self.last = nn.Sequential(*rest, network.fc2, network.fc3)

    def _convolutions(self, x):
        size = _CHUNK * torch.get_num_threads()
        out = x.new_empty(len(x), self.weight.shape[1], dtype=torch.bfloat16)
        for part, result in zip(x.split(size), out.split(size), strict=True):
            part = part.to(torch.bfloat16)[..., None]
            for layer in self.layers:
                part = layer(part)
            result.copy_(part.flatten(1))
        return out

    @torch.inference_mode()
    def forward(self, x):
        """Logits of the redshift bins and, last, of "not a quasar": shape (batch, n_bins + 1).

        Parameters
        ----------
        x : `torch.Tensor`, shape (batch, n_pixels) or (batch, channels, n_pixels)
            The first channel is used.
        """
        if x.dim() == 3:
            x = x[:, 0]
        return torch.cat([self._dense(self._convolutions(part)) for part in x.split(_DENSE_CHUNK)])

    def _dense(self, activations):
        if len(activations) == 1:  # half the time of a product of matrices
            hidden = torch.addmv(self.bias, self.weight, activations[0])[None]
        else:
            hidden = nn.functional.linear(activations, self.weight, self.bias)
        return self.last(hidden.float())
