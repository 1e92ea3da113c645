"""FNet: a residual network with filters as wide as a tenth of the spectrum, and one number at its end.

24 convolutions in eight residual units, no pooling; what is left is a spectrum again, and three dense layers make the
redshift of it.  The original reads SDSS's own 4618 pixels: 29 billion multiplications a spectrum.  Its two long filters
are applied through the FFT here, with equal results, in far fewer.

`FNet` is the published network.  `FNetCoarse` is not: the same blocks on pixels four times as wide, with kernels a
quarter as long, so that it can be trained without a GPU.

References
----------
Rastegarnia F. et al. 2022, MNRAS 511, 4490.
"""

from __future__ import annotations

import torch
from torch import nn

from specz_cnn.models.fftconv import FFTConv1d, direct_convolution, single_precision
from specz_cnn.models.network import LogitsNetwork, NumberNetwork, Objective, architecture

__all__ = ["BLOCKS", "FNet", "FNetCoarse", "FNetCoarsePZ", "FNetRegression", "ResidualUnit", "scale_to_unit"]

#: Channels of each block and its number of residual units.
BLOCKS = ((1, 32, 5), (32, 64, 1), (64, 32, 1), (32, 1, 1))


def scale_to_unit(flux, ivar):
    """Published preprocessing: minus the mean, over the standard deviation, minus the minimum plus 0.001, over the maximum.

    One bad pixel sets the scale of the whole spectrum: a weakness of the published system.

    Parameters
    ----------
    flux, ivar : `torch.Tensor` or array_like, shape (batch, n_pixels)
        Flux density and inverse variance, of which only the zeros are used: pixels without data are interpolated linearly,
        beyond the ends the nearest pixel counts.

    Returns
    -------
    `torch.Tensor`, float32, shape (batch, n_pixels)
        From about 0 to 1; all zeros for a spectrum without data or contrast.
    """
    flux, ivar = (torch.as_tensor(values).double() for values in (flux, ivar))
    good = (ivar > 0) & torch.isfinite(ivar) & torch.isfinite(flux)
    x = _interpolate(torch.where(good, flux, 0.0), good)
    x = x / x.abs().amax(1, keepdim=True).clamp(min=1e-300)
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    contrast = std > 1e-6 * mean.abs()
    x = (x - mean) / torch.where(contrast, std, 1.0)
    x = x - x.amin(1, keepdim=True) + 0.001
    x = x / x.amax(1, keepdim=True)
    return (x * contrast).float()


def _interpolate(flux, good):
    """Fill pixels that are not good from the nearest good ones on either side, rows without any with zero."""
    n = flux.shape[1]
    place = torch.arange(n, device=flux.device).expand(flux.shape)
    before = torch.where(good, place, -1).cummax(1).values
    after = torch.where(good, place, n).flip(1).cummin(1).values.flip(1)
    low = torch.where(before < 0, after, before).clamp(0, n - 1)
    high = torch.where(after >= n, before, after).clamp(0, n - 1)
    share = (place - low).double() / (high - low).clamp(min=1)
    return flux.gather(1, low) * (1 - share) + flux.gather(1, high) * share


class ResidualUnit(nn.Module):
    """Three convolutions with normalisations, plus what came in.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernels : sequence of int
        Widths of the three filters.
    project : bool
        Whether what came in goes through a convolution of width one, as it must where channels change.
    """

    def __init__(self, n_in, n_out, kernels, project):
        super().__init__()
        first, second, last = kernels
        # The first two add a pixel where their width is even; the last one takes away what is too much.
        excess = last - 1 - (first % 2 == 0) - (second % 2 == 0)
        if excess < 0 or excess % 2:
            raise ValueError(f"filters of widths {kernels} do not keep the length of a spectrum")
        self.conv1 = FFTConv1d(n_in, n_out, first, padding=first // 2)
        self.conv2 = FFTConv1d(n_out, n_out, second, padding=second // 2)
        self.conv3 = nn.Conv1d(n_out, n_out, last, padding=excess // 2)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(n_out) for _ in range(3))
        self.skip = nn.Conv1d(n_in, n_out, 1) if project else None

    def forward(self, x):
        """(batch, n_in, 1, n) to (batch, n_out, 1, n)."""
        y = self.norm1(self.conv1.forward_last(x)).relu()
        y = self.norm2(self.conv2.forward_last(y)).relu()
        y = self.norm3(direct_convolution(self.conv3, y))
        return (y + (x if self.skip is None else direct_convolution(self.skip, x))).relu()


@architecture
class FNet(NumberNetwork):
    """The published network.

    Parameters
    ----------
    n_pixels : int
        Length of the input; 4618 is published.
    kernels : sequence of int
        Widths of the filters of a residual unit.
    hidden : sequence of int
        Widths of the two dense layers before the last.
    """

    preprocess = staticmethod(scale_to_unit)
    preprocess_version = 1

    def __init__(self, n_pixels=4618, kernels=(500, 200, 15), hidden=(796, 199)):
        super().__init__()
        self.n_pixels = n_pixels
        self.units = nn.Sequential(
            *(
                ResidualUnit(n_out if i else n_in, n_out, kernels, project=i == 0)
                for n_in, n_out, n_units in BLOCKS
                for i in range(n_units)
            )
        )
        first, second = hidden
        self.layers = nn.Sequential(
            nn.Linear(n_pixels, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1)
        )

    def convolutions(self, x):
        """What enters the dense layers: x of shape (batch, n_pixels) to the same shape."""
        # Channels last in memory; convolutions keep to the layout that they are given.
        return self.units(x[:, None, None])[:, 0, 0].float()

    def dense(self, activations):
        """From what enters the dense layers, shape (batch, n_pixels), to the output, shape (batch, 1)."""
        with single_precision(activations):
            return self.layers(activations)

    def trunk(self, x):
        """What enters the last two layers: x of shape (batch, n_pixels) to shape (batch, hidden[0])."""
        activations = self.convolutions(x)
        with single_precision(activations):
            return self.layers[:2](activations)

    @property
    def last_layers(self):
        """See `NumberNetwork.last_layers`."""
        return self.layers[2], self.layers[4]

    def forward(self, x):
        """Scaled redshift, shape (batch, 1), of spectra, shape (batch, n_pixels)."""
        return self.dense(self.convolutions(x))

    @staticmethod
    def read(network, x):
        """ln(1 + z) and its standard deviation under dropout: see `Network.read`."""
        target = network.info.target
        output = NumberNetwork.read(network, x)
        if target.get("of") != "z":
            return output
        z, spread = output.unbind(1)
        z = z.clamp(min=0.0)
        return torch.stack([torch.log1p(z), spread / (1 + z)], 1)

    def objective(self, *, bins=None, target=None, ordinal=None):
        """See `Network.objective`: squared error of z where the target says ``of = "z"``, as published."""
        if target.get("of") != "z":
            target = {name: target[name] for name in ("mean", "std")}
            return super().objective(target=target, ordinal=ordinal)
        return FNetRegression(target["mean"], target["std"])


@architecture
class FNetCoarse(FNet):
    """FNet's blocks on the grid of RNet, 276 km/s a pixel, with kernels scaled by the width of a pixel.

    Not the published network: a quarter of its pixels, of its kernels and of its parameters.
    """

    def __init__(self, n_pixels=1212, kernels=(125, 50, 4), hidden=(796, 199)):
        super().__init__(n_pixels, kernels, hidden)


@architecture
class FNetCoarsePZ(FNetCoarse):
    """The blocks and the first dense layer of `FNetCoarse`, with a softmax over redshift bins in place of the number.

    A step on the way to `FNetCoarse`: what classes teach in an hour, one number does not in many.

    Parameters
    ----------
    n_pixels, kernels : see `FNet`
    hidden : sequence of int
        Widths of the two dense layers before the bins.
    n_bins : int
        Redshift bins, uniform in ln(1 + z).  The output has one more column: "not a quasar".
    """

    def __init__(self, n_pixels=1212, kernels=(125, 50, 4), hidden=(796, 512), n_bins=1136):
        super().__init__(n_pixels, kernels, hidden)
        self.layers[4] = nn.Linear(hidden[1], n_bins + 1)

    read = staticmethod(LogitsNetwork.read)
    objective = LogitsNetwork.objective  # type: ignore[assignment]  # a number takes ramps in place of a width


class FNetRegression(Objective):
    """Published loss: mean squared error of the redshift, scaled to ``(z - mean) / std``.

    Parameters
    ----------
    mean, std : float
        With the least redshift and the range as these, the target goes from 0 to 1.
    """

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def loss(self, network, examples):
        """See `Objective.loss`; spectra that are no quasars do not count."""
        error = (network(examples.x)[:, 0] - (examples.z - self.mean) / self.std) ** 2
        return torch.where(examples.is_quasar, error, 0.0).sum() / examples.is_quasar.sum().clamp(min=1)

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        return (network(x)[:, 0] * self.std + self.mean).clamp(min=-0.9), None
