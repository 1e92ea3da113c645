"""The networks as they are used, not trained: the same output to rounding, several times faster on a CPU.

* What does not depend on the spectrum is computed once: normalisations are folded into the convolutions before them,
  filters and templates are kept as Fourier transforms.
* Long filters are applied through the FFT; short ones directly, channels innermost, the layout in which convolutions
  of a few dozen channels run closest to the peak of the machine.
* A batch goes through in chunks whose intermediate results fit a core's cache.

Chunks, batches and the number of threads change results by rounding only (below 1 km/s).
"""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["InferenceRNet", "InferenceRNetE", "prepare_for_inference"]

_CHUNK = 16  # spectra per thread; on cores with 1 MB of second-level cache 8 to 32 differ little
_CUDA_CHUNK = 1024
_DENSE_CHUNK = 256  # spectra in one product with the 7.7 million weights of fc1: more is no faster
_TILE = 8  # pixels of the one-channel output of RNet-E computed at once


def prepare_for_inference(network, *, opinion=False):
    """A faster equivalent of a trained network.

    Parameters
    ----------
    network : `torch.nn.Module`
        In evaluation mode.  Its parameters may be shared, not copied: do not train it afterwards.
    opinion : bool, optional
        For a second opinion, which some networks give in half precision on processors made for it.

    Returns
    -------
    `torch.nn.Module`
        With the same output as ``network`` (an opinion: to a percent), the same ``grid`` and ``info`` (where it has them), on the same device,
        without gradients, and with the class of the network as ``architecture``.  A network that knows nothing faster
        is returned as it is.

    Raises
    ------
    ValueError
        If the network is in training mode.
    """
    if network.training:
        raise ValueError("the network is in training mode; call its eval() first")
    if not hasattr(network, "for_inference"):
        return network
    with torch.no_grad():
        prepared = network.for_opinion() if opinion else network.for_inference()
    if prepared is not network:
        prepared.eval().requires_grad_(False)
        prepared.architecture = type(network)
        for name in ("grid", "info"):
            if hasattr(network, name):
                setattr(prepared, name, getattr(network, name))
    return prepared


def _fft_length(n):
    """Smallest number >= n of the form m 2^k, m odd and at most 9: the lengths MKL transforms fastest.

    Not `scipy.fft.next_fast_len`, which knows the lengths that pocketfft likes, among them 3^a 5^b.
    """
    return min(m << max(0, math.ceil(math.log2(n / m))) for m in (1, 3, 5, 7, 9))


def _chunks(*tensors):
    """Matching pieces of a batch that stay in the caches; none of an empty batch, which FFTs do not take."""
    x = tensors[0]
    size = _CHUNK * torch.get_num_threads() if x.device.type == "cpu" else _CUDA_CHUNK
    return zip(*(tensor.split(size) for tensor in tensors), strict=True) if len(x) else ()


class _LongConvolution(nn.Module):
    """`torch.nn.Conv1d` (stride 1, no padding) for input of ``n`` pixels, as a product with precomputed spectra."""

    def __init__(self, convolution, n):
        super().__init__()
        self.n_fft = _fft_length(n)
        self.n_out = n - convolution.kernel_size[0] + 1
        response = torch.fft.rfft(convolution.weight, self.n_fft).conj()  # out, in, freq
        if convolution.in_channels > 1:
            response = response.permute(2, 1, 0)  # freq, in, out
        self.register_buffer("response", response.resolve_conj().contiguous())
        # A constant is a spectrum with nothing but its first element.
        self.register_buffer("offset", convolution.bias * self.n_fft)

    def forward(self, x):
        """(batch, in, n) to (batch, out, n - kernel + 1)."""
        spectrum = torch.fft.rfft(x, self.n_fft)
        if x.shape[1] == 1:
            product = spectrum * self.response[:, 0]
        else:
            # Contiguous, or the batched product would copy one small matrix at a time.
            product = torch.bmm(spectrum.permute(2, 0, 1).contiguous(), self.response)  # freq, batch, out
            product = product.permute(1, 2, 0).contiguous()
        product[..., 0] += self.offset
        return torch.fft.irfft(product, self.n_fft)[..., : self.n_out]


def _pool(y):
    """ReLU and pooling by two: in this order half the work, with the same result."""
    return nn.functional.max_pool1d(y, 2, 2).clamp_min_(0.0)


class InferenceRNet(nn.Module):
    """`~specz_cnn.models.RNet` or `~specz_cnn.models.RNetPZ` for inference; made by `prepare_for_inference`.

    ``fc1``, ``fc2`` and ``fc3`` are the layers of the network itself.
    """

    def __init__(self, network):
        super().__init__()
        n = self.n_pixels = network.n_pixels
        self.layers = nn.ModuleList()
        for layer in (network.layer1, network.layer2, network.layer3):
            self.layers.append(_LongConvolution(layer[0], n))
            n = self.layers[-1].n_out // 2
        self.drop_out = network.drop_out
        self.fc1, self.fc2, self.fc3 = network.fc1, network.fc2, network.fc3

    @torch.inference_mode()
    def convolutions(self, x):
        """What enters ``fc1``: x of shape (batch, n_pixels) or (batch, channels, n_pixels) to (batch, flat_size)."""
        if x.dim() == 3:
            x = x[:, 0]
        out = x.new_empty(x.shape[0], self.fc1[0].in_features)
        for part, result in _chunks(x, out):
            part = part.unsqueeze(1)
            for layer in self.layers:
                part = _pool(layer(part))
            result.copy_(part.flatten(1))
        return out

    def dense(self, activations):
        """From what enters ``fc1``, shape (batch, flat_size), to the output."""
        return self.fc3(self.fc2(self.fc1(activations)))

    @torch.inference_mode()
    def forward(self, x):
        """As the network's: standardised ln(1 + z), shape (batch, 1), or logits, shape (batch, n_bins + 1)."""
        return torch.cat([self.dense(self.convolutions(part)) for part in x.split(_DENSE_CHUNK)])


class _ShortConvolution(nn.Module):
    """A convolution along the last axis of (batch, in, 1, n), as long as before or a stride shorter, channels innermost.

    Not a `torch.nn.Conv2d`, which draws initial values of torch's default type: they would move the random state of
    whoever calls us, and be of the wrong type where that is not single precision.
    """

    def __init__(self, weight, bias, stride=1):
        super().__init__()
        self.pad, self.stride = weight.shape[2] // 2, stride
        self.register_buffer("weight", weight.unsqueeze(2).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.clone())

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight, self.bias, (1, self.stride), (0, self.pad))


def _fold(convolution, norm):
    """A convolution without bias, and the normalisation that follows it, as one convolution."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight, bias = convolution.weight * scale[:, None, None], norm.bias - norm.running_mean * scale
    return _ShortConvolution(weight, bias, convolution.stride[0])


def _tiled(weight, bias, tile):
    """The convolution that computes ``tile`` neighbouring pixels of a one-channel output at once.

    Each tile of ``tile`` pixels becomes one pixel with ``tile`` times the channels: many channels for a few outputs,
    which is several times faster than one output from a few channels.
    """
    _, n_in, kernel = weight.shape
    reach = -(-(kernel // 2) // tile)  # tiles that an output needs on either side
    tiles = weight.new_zeros(tile, n_in, (2 * reach + 1) * tile)
    for pixel in range(tile):
        start = reach * tile + pixel - kernel // 2
        tiles[pixel, :, start : start + kernel] = weight[0]
    # (out, in, tiles, pixel in tile) to (out, pixel in tile x in, tiles): the memory order of channels innermost.
    tiles = tiles.unflatten(2, (-1, tile)).permute(0, 3, 1, 2).flatten(1, 2)
    return _ShortConvolution(tiles, bias.expand(tile))


class InferenceRNetE(nn.Module):
    """`~specz_cnn.models.RNetE` for inference; made by `prepare_for_inference`."""

    def __init__(self, network):
        super().__init__()
        self.n_features = network.n_pixels // network.stride
        self.n_bins, self.n_segments, self.stride = network.n_bins, network.n_segments, network.stride
        self.features = nn.ModuleList(_fold(block[0], block[1]) for block in network.features)
        self._set_templates(network)
        first, _, second = network.lag
        self.tile = math.gcd(self.n_bins, _TILE)
        self.lag = _ShortConvolution(first.weight, first.bias)
        self.combine = _tiled(second.weight, second.bias, self.tile)
        self.register_buffer("direct", network.direct.weight.flatten().clone())
        self.register_buffer("bias", network.bias.detach().clone())
        self.other = network.other

    def _set_templates(self, network):
        """Spectra of the templates, normalised, in the order in which a product of spectra gives increasing redshift.

        ``correlation[k] = sum_n features[n] template[n - k + n_bins]`` is the convolution of the features with the
        template turned round.  Phases come before templates, so that redshifts follow each other in memory.
        """
        norm = network.lag_norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        lag_bias = network.lag_bias + shift[:, None]
        # Bins apart by the stride, phases and templates.
        self.register_buffer("lag_bias", lag_bias.t().reshape(self.n_bins // self.stride, -1))
        n_lags = self.n_bins // self.stride
        self.n_fft = _fft_length(self.n_features + n_lags - 1)
        phases = (network.phases() * scale[:, None, None, None]).transpose(0, 1).flatten(0, 1)
        turned = phases.new_zeros(*phases.shape[:2], self.n_fft)
        lag = torch.arange(1 - self.n_features, n_lags, device=turned.device)
        turned[..., lag % self.n_fft] = phases[..., n_lags - lag]
        response = torch.fft.rfft(turned)
        # Frequency, in, phase and template.
        self.register_buffer("response", response.permute(2, 1, 0).contiguous())

    def _correlation(self, features):
        """Normalised correlations, shape (batch, n_bins, n_templates), of features with room for them."""
        spectrum = torch.fft.rfft(features)
        # As a matrix it is transposed in blocks, which for so many numbers is faster than an array of three axes.
        spectrum = spectrum.flatten(0, 1).t().contiguous().unflatten(1, spectrum.shape[:2])
        correlation = torch.fft.irfft(torch.bmm(spectrum, self.response), self.n_fft, dim=0)
        out = features.new_empty(features.shape[0], *self.lag_bias.shape)
        torch.add(correlation[: len(self.lag_bias)].permute(1, 0, 2), self.lag_bias, out=out)
        return out.view(len(out), self.n_bins, -1)

    def _lag_logits(self, correlation):
        """Logits of the redshift bins, shape (batch, n_bins)."""
        hidden = self.lag(correlation.transpose(1, 2).unsqueeze(2)).relu_()
        # In memory (batch, n_bins, channels): a view with `tile` times the channels.
        tiles = hidden.permute(0, 2, 3, 1).reshape(len(hidden), 1, self.n_bins // self.tile, -1)
        combined = (
            self.combine(tiles.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(len(hidden), self.n_bins)
        )
        return torch.matmul(correlation, self.direct).add_(combined).add_(self.bias)

    def _chunk(self, x, out, padded):
        hidden = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        for convolution in self.features:
            hidden = convolution(hidden).relu_()
        padded = padded[: len(x)]
        padded[..., : self.n_features] = hidden.squeeze(2)
        correlation = self._correlation(padded)
        logits = self._lag_logits(correlation)
        pooled = nn.functional.adaptive_avg_pool2d(hidden, (1, self.n_segments)).flatten(1)
        top = correlation.topk(2, dim=1).values.transpose(1, 2).flatten(1)
        total = logits.logsumexp(1, keepdim=True)
        summary = torch.cat([pooled, 0.1 * top, 0.1 * total, 0.1 * logits.amax(1, keepdim=True)], 1)
        out[:, :-1] = logits
        out[:, -1:] = self.other(summary) + total

    @torch.inference_mode()
    def forward(self, x):
        """Logits of the redshift bins and, last, of "not a quasar".

        Parameters
        ----------
        x : `torch.Tensor`, shape (batch, 2, n_pixels)
            Output of :func:`specz_cnn.models.preprocess.standardise`.

        Returns
        -------
        `torch.Tensor`, shape (batch, n_bins + 1)
        """
        out = x.new_empty(x.shape[0], self.n_bins + 1)
        padded = None
        for part, result in _chunks(x, out):
            if padded is None:  # the first is the largest
                padded = x.new_zeros(len(part), self.response.shape[1], self.n_fft)
            self._chunk(part, result, padded)
        return out
