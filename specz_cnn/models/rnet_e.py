"""RNet-E: a shift-equivariant network that cross-correlates learned features with learned templates.

In log wavelength a redshift is a shift.  A few short convolutions turn the spectrum into features; each feature is
cross-correlated with learned rest-frame templates that span the whole rest-frame range; a small convolution along the
lag combines the correlations into the logit of each redshift.  It is the classic cross-correlation redshift (Tonry &
Davis 1979) with everything learned, and needs no fully connected layer over pixels: a million parameters, nearly all of
them templates one can look at.

References
----------
Tonry J., Davis M. 1979, AJ 84, 1511.
"""

from __future__ import annotations

import torch
from torch import nn

from specz_cnn.models.fftconv import correlate, fft_length
from specz_cnn.models.inference import InferenceRNetE
from specz_cnn.models.network import LogitsNetwork, architecture

__all__ = ["RNetE"]


def _convolution(n_in, n_out, kernel, stride):
    convolution = nn.Conv1d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(n_out), nn.ReLU())


@architecture
class RNetE(LogitsNetwork):
    """The equivariant network.

    Parameters
    ----------
    n_pixels : int
        Length of the input; the pixel is also the redshift bin, in ln(1 + z).
    n_bins : int
        Number of redshift bins, starting at z = 0.
    channels : sequence of int
        Feature channels after each convolution.
    kernels : sequence of int
        Widths of the convolutions, odd.
    n_templates : int
        Correlations computed per redshift before they are combined.
    lag_width : int
        Width of the convolutions along the lag.
    n_segments : int
        Wavelength segments over which features are pooled for the "not a quasar" decision.
    stride : int
        Pixels from one place where features are computed to the next, a divisor of both lengths.  Redshift bins stay
        pixels: each template meets the features in as many phases.
    """

    def __init__(
        self,
        n_pixels=1212,
        n_bins=2272,
        channels=(24, 32, 16),
        kernels=(21, 11, 9),
        n_templates=8,
        lag_width=5,
        n_segments=24,
        stride=1,
    ):
        super().__init__()
        if n_pixels % stride or n_bins % stride:
            raise ValueError(f"stride {stride} does not divide both {n_pixels} pixels and {n_bins} bins")
        self.n_pixels, self.n_bins, self.n_segments, self.stride = n_pixels, n_bins, n_segments, stride
        sizes = [2, *channels]
        strides = [stride] + [1] * (len(channels) - 1)
        self.features = nn.Sequential(
            *(_convolution(*how) for how in zip(sizes[:-1], sizes[1:], kernels, strides, strict=True))
        )
        n_features = sizes[-1]
        self.n_fft = fft_length((n_pixels + n_bins) // stride)
        templates = torch.empty(n_templates, n_features, n_pixels + n_bins)
        if not templates.is_meta:  # without data, normal numbers only import torch's compiler, for seconds
            templates = 0.02 * torch.randn(templates.shape)
        self.templates = nn.Parameter(templates)
        self.lag_norm = nn.BatchNorm1d(n_templates)
        self.lag_bias = nn.Parameter(torch.zeros(n_templates, n_bins))
        pad = lag_width // 2
        self.lag = nn.Sequential(
            nn.Conv1d(n_templates, 16, lag_width, padding=pad),
            nn.ReLU(),
            nn.Conv1d(16, 1, lag_width, padding=pad),
        )
        self.direct = nn.Conv1d(n_templates, 1, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_bins))
        self.other = nn.Sequential(
            nn.Linear(n_features * n_segments + 2 * n_templates + 2, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def phases(self):
        """The templates as features see them at redshifts apart by the stride: (n_templates, stride, channels, length).

        Phase ``p``, for bins ``stride * j + p``, has at place ``m`` the template's pixel ``stride * m - p``.
        """
        shifted = nn.functional.pad(self.templates, (self.stride - 1, 1 - self.stride))
        return shifted.unflatten(-1, (-1, self.stride)).flip(-1).movedim(-1, 1)

    def correlate(self, features):
        """Correlation of features, (batch, channels, n_pixels / stride), with each template at each redshift.

        Returns shape (batch, n_templates, n_bins).  At bin ``k`` the feature of pixel ``n`` meets template pixel
        ``n - k + n_bins``: a line at rest pixel ``r`` appears ``k`` pixels further to the red.
        """
        correlation = correlate(features, self.phases().flatten(0, 1), self.n_fft)
        correlation = correlation[..., 1 : self.n_bins // self.stride + 1].flip(-1)
        return correlation.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)

    def for_inference(self):
        """See `Network.for_inference`."""
        return InferenceRNetE(self)

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
        features = self.features(x)
        correlation = self.lag_norm(self.correlate(features)) + self.lag_bias
        logits = (self.direct(correlation) + self.lag(correlation)).squeeze(1) + self.bias
        pooled = nn.functional.adaptive_avg_pool1d(features, self.n_segments).flatten(1)
        top = correlation.topk(2, dim=2).values.flatten(1)
        summary = torch.stack([logits.logsumexp(1), logits.amax(1)], 1)
        other = self.other(torch.cat([pooled, 0.1 * top, 0.1 * summary], 1)) + logits.logsumexp(
            1, keepdim=True
        )
        return torch.cat([logits, other], 1)
