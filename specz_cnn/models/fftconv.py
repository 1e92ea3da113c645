"""One-dimensional convolution with long filters, computed as a product of spectra.

RNet's filters are 200 pixels wide.  A direct convolution of 32 channels into 16 costs 31 million multiplications per
spectrum; through the FFT it costs about a tenth, in training and in inference, with results equal to rounding.
"""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

__all__ = ["FFTConv1d", "correlate", "direct_convolution", "fft_length", "single_precision"]


def fft_length(n):
    """Smallest even number >= n without prime factors above 5, for which FFTs are fast."""
    return 2 * next_fast_len(-(-n // 2), real=True)


def single_precision(x):
    """Context for what half precision is too coarse for, or unknown to, where the rest of a network is trained in it."""
    return torch.autocast(x.device.type, enabled=False)


class FFTConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` (stride 1, zeros as padding) evaluated through the FFT; same parameters, same output."""

    def forward(self, x):
        """Convolve ``x``, shape (batch, in_channels, n), to shape (batch, out_channels, n + 2 padding - kernel + 1)."""
        x = pad(x, self.padding * 2)
        with single_precision(x):
            return self._convolve(x.float() if x.dtype == torch.bfloat16 else x)

    def forward_last(self, x):
        """The same with channels last in memory: (batch, in_channels, 1, n) to (batch, out_channels, 1, ...).

        In half precision directly: units for products of matrices outrun the FFT there, ten times on a CPU that has them.
        """
        if torch.is_autocast_enabled(x.device.type):
            return direct_convolution(self, x)
        return self(x[:, :, 0])[:, :, None]

    def _convolve(self, x):
        n = x.shape[-1]
        n_fft = fft_length(n)
        spectrum = torch.fft.rfft(x, n_fft)  # batch, in, freq
        response = torch.fft.rfft(self.weight, n_fft).conj()  # out, in, freq
        # One small matrix product per frequency: (freq, batch, in) @ (freq, in, out).
        product = torch.matmul(spectrum.permute(2, 0, 1), response.permute(2, 1, 0))
        y = torch.fft.irfft(product.permute(1, 2, 0), n_fft)[..., : n - self.kernel_size[0] + 1]
        return y + self.bias[:, None]


def direct_convolution(layer, x):
    """Apply a `torch.nn.Conv1d` as written, channels last in memory.

    Parameters
    ----------
    layer : `torch.nn.Conv1d`
        Of stride 1.
    x : `torch.Tensor`, shape (batch, in_channels, 1, n)

    Returns
    -------
    `torch.Tensor`, shape (batch, out_channels, 1, n + 2 padding - kernel + 1)
    """
    weight = layer.weight[:, :, None].contiguous(memory_format=torch.channels_last)
    return conv2d(x, weight, layer.bias, padding=(0, *layer.padding))


def _by_frequency(spectrum):
    """(batch, channels, freq) complex to (freq, batch, 2 channels) real: real and imaginary part of each channel.

    One transposition of a matrix, for which torch has a fast way that a general permutation lacks.
    """
    batch, channels, n = spectrum.shape
    turned = spectrum.reshape(-1, n).t().contiguous()
    return torch.view_as_real(turned).reshape(n, batch, 2 * channels)


def _by_row(parts):
    """Inverse of :func:`_by_frequency`."""
    n, batch, channels = parts.shape
    turned = torch.view_as_complex(parts.reshape(n, -1, 2)).t().contiguous()
    return turned.reshape(batch, channels // 2, n)


def _mix(parts, response):
    """For each frequency the complex product of (batch, in) with (out, in) summed over ``in``, as a real product.

    Batched complex products loop over small ones on the CPU; real ones do not.  ``parts`` are those of a spectrum,
    (freq, batch, 2 in), ``response`` has shape (out, in, freq); the result (batch, out, freq).
    """
    response = response.permute(2, 1, 0)  # freq, in, out
    # freq, in, (real, imag), out, (real, imag)
    pairs = torch.view_as_real(torch.stack([response, 1j * response], 2))
    return _by_row(torch.bmm(parts, pairs.flatten(3, 4).flatten(1, 2)))


def _contract(grad, parts):
    """For each frequency ``sum_batch grad[batch, h] conj(spectrum[batch, c])``, of the parts of both: (h, c, freq)."""
    # freq, h, (real, imag), c, (real, imag)
    product = torch.bmm(grad.transpose(1, 2), parts).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    real = product[:, :, 0, :, 0] + product[:, :, 1, :, 1]
    imag = product[:, :, 1, :, 0] - product[:, :, 0, :, 1]
    return torch.complex(real, imag).permute(1, 2, 0)


class _Correlate(torch.autograd.Function):
    """Cross-correlation with a backward pass made of real FFTs (autograd's own goes through complex ones)."""

    @staticmethod
    def forward(ctx, features, templates, n_fft):
        parts = _by_frequency(torch.fft.rfft(features, n_fft).conj().resolve_conj())
        response = torch.fft.rfft(templates, n_fft)
        ctx.save_for_backward(parts, response)
        ctx.sizes = features.shape[-1], templates.shape[-1], n_fft
        return torch.fft.irfft(_mix(parts, response), n_fft)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        parts, response = ctx.saved_tensors
        n_features, n_templates, n_fft = ctx.sizes
        grad = torch.fft.rfft(grad, n_fft)
        # d/d features is the correlation of the gradient with the templates, d/d templates its convolution with the
        # features.
        grad_features = grad_templates = None
        if ctx.needs_input_grad[0]:
            mixed = _mix(_by_frequency(grad.conj().resolve_conj()), response.transpose(0, 1))
            grad_features = torch.fft.irfft(mixed, n_fft)[..., :n_features]
        if ctx.needs_input_grad[1]:
            grad_templates = torch.fft.irfft(_contract(_by_frequency(grad), parts), n_fft)[..., :n_templates]
        return grad_features, grad_templates, None


def correlate(features, templates, n_fft):
    """Circular cross-correlation, summed over channels.

    ``out[b, h, m] = sum_c sum_n features[b, c, n] templates[h, c, (n + m) mod n_fft]``.

    Parameters
    ----------
    features : `torch.Tensor`, shape (batch, channels, n)
    templates : `torch.Tensor`, shape (n_templates, channels, m)
    n_fft : int
        Length of the circle, at least ``m``.

    Returns
    -------
    `torch.Tensor`, shape (batch, n_templates, n_fft)
    """
    return _Correlate.apply(features, templates, n_fft)
