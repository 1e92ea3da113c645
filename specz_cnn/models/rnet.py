"""RNet, the network of Moradi, Rastegarnia et al., and RNet with a p(z) head.

The published network has filters 200 pixels wide, for "the global shift of the spectrum", and returns one number.
Its first fully connected layer has 8576 = 128 x 67 inputs, which the convolutions produce for 1209 to 1216 input
pixels (2000 pixels, the number given in the talk, would produce 21120); the packaged weights use 1212.

References
----------
Rastegarnia F. et al. 2022, MNRAS 511, 4490 (FNet).
Moradi S., Rastegarnia F. et al., "Deep learning and Astrophysics" (talk).
"""

from __future__ import annotations

import torch
from torch import nn

from specz_cnn.models.fftconv import FFTConv1d
from specz_cnn.models.inference import InferenceRNet
from specz_cnn.models.losses import ordinal_loss, point_estimate, regression_loss
from specz_cnn.models.network import LogitsNetwork, NumberNetwork, Objective, architecture

__all__ = ["OrdinalRegression", "RNet", "RNetPZ", "flat_size"]


def flat_size(n_pixels):
    """Number of activations after RNet's three convolutions and poolings of ``n_pixels`` input pixels.

    Raises
    ------
    ValueError
        If the spectrum is too short for the filters.
    """
    n = n_pixels
    for kernel in (200, 200, 20):
        n = (n - kernel + 1) // 2
    if n < 1:
        raise ValueError(f"RNet needs at least 681 pixels, not {n_pixels}")
    return 128 * n


@architecture
class RNet(NumberNetwork):
    """The published network: three convolutions, three fully connected layers, one number.

    Parameters
    ----------
    n_pixels : int
        Length of the input; 1212 gives the published 8576 inputs of ``fc1``.
    dropout : float
        Dropout probability before ``fc1``.

    Notes
    -----
    Names and shapes of the parameters are those of the published class, so that its state dict loads unchanged.
    """

    def __init__(self, n_pixels=1212, dropout=0.5):
        super().__init__()
        self.n_pixels = n_pixels
        # The first convolution has one input channel: the direct algorithm is the faster one there.
        self.layer1 = nn.Sequential(nn.Conv1d(1, 32, 200), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.layer2 = nn.Sequential(FFTConv1d(32, 16, 200), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.layer3 = nn.Sequential(nn.Conv1d(16, 128, 20), nn.ReLU(), nn.MaxPool1d(2, 2))
        self.drop_out = nn.Dropout(dropout)
        self.fc1 = nn.Sequential(nn.Linear(flat_size(n_pixels), 900), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(900, 100), nn.ReLU())
        self.fc3 = nn.Linear(100, 1)

    def convolutions(self, x):
        """What enters ``fc1``: x of shape (batch, n_pixels) or (batch, channels, n_pixels) to (batch, flat_size).

        Only the first channel, the flux, is used.
        """
        if x.dim() == 3:
            x = x[:, 0]
        return self.layer3(self.layer2(self.layer1(x.unsqueeze(1)))).flatten(1)

    def trunk(self, x):
        """Activations of ``fc1``: x as for `convolutions`, to shape (batch, 900)."""
        return self.fc1(self.drop_out(self.convolutions(x)))

    def dense(self, activations):
        """From what enters ``fc1``, shape (batch, flat_size), to the output, shape (batch, 1)."""
        return self.fc3(self.fc2(self.fc1(activations)))

    def forward(self, x):
        """Standardised ln(1 + z), shape (batch, 1)."""
        return self.fc3(self.fc2(self.trunk(x)))

    def for_inference(self):
        """See `Network.for_inference`."""
        return InferenceRNet(self)

    def objective(self, *, bins=None, target=None, ordinal=None):
        """Regression, or with ``ordinal`` that of `OrdinalRegression`: see `Network.objective`.

        ``ordinal`` is ``{"low": a, "high": b, "weight": w}``.
        """
        if ordinal is None:
            return super().objective(bins=bins, target=target)
        return OrdinalRegression(self, **target, **ordinal)


@architecture
class RNetPZ(RNet):
    """RNet's convolutions and ``fc1``, with a softmax over redshift bins in place of the single number.

    Parameters
    ----------
    n_pixels : int
        Length of the input.
    n_bins : int
        Redshift bins, uniform in ln(1 + z).  The output has one more column: "not a quasar".
    hidden : int
        Width of the layer between ``fc1`` and the bins.
    dropout : float
        Dropout probability before ``fc1``.
    """

    def __init__(self, n_pixels=1212, n_bins=1136, hidden=512, dropout=0.2):
        super().__init__(n_pixels, dropout)
        self.fc2 = nn.Sequential(nn.Linear(900, hidden), nn.ReLU())
        self.fc3 = nn.Linear(hidden, n_bins + 1)

    def forward(self, x):
        """Logits of the redshift bins and, last, of "not a quasar": shape (batch, n_bins + 1)."""
        return super().forward(x)

    read = staticmethod(LogitsNetwork.read)
    objective = LogitsNetwork.objective  # type: ignore[assignment]  # RNet takes ramps in place of a width


class OrdinalRegression(Objective):
    """Regression with the units of ``fc2`` paired to ramps.

    Each ramp, clipped to [0, 1], answers whether ln(1 + z) is above one of the steps between ``low`` and ``high``; ``fc3``
    adds them up and stays as it is.

    Parameters
    ----------
    network : `torch.nn.Module`
        With ``trunk``, ``fc2`` and ``fc3``, changed in place.
    mean, std : float
        Standardisation of ln(1 + z).
    low, high : float
        Range of ln(1 + z).
    weight : float
        Weight of the ordinal loss of the ramps beside the regression loss of the sum.
    """

    def __init__(self, network, mean, std, low, high, weight):
        self.mean, self.std, self.low, self.high, self.weight = mean, std, low, high, weight
        layer = network.fc3
        half = layer.in_features // 2
        step = (high - low) / half
        with torch.no_grad():
            layer.weight[:, :half] = step / std
            layer.weight[:, half:] = -step / std
            layer.bias.fill_((low - mean) / std)
        layer.requires_grad_(False)
        self.after_step(network)

    def loss(self, network, examples):
        """See `Objective.loss`."""
        ramps = network.fc2[0](network.trunk(examples.x))
        ramps = ramps[:, : ramps.shape[1] // 2]
        low, high, mean, std = self.low, self.high, self.mean, self.std
        output = (low + (high - low) * ramps.clamp(0, 1).mean(1, keepdim=True) - mean) / std
        loss = regression_loss(output, examples.z, examples.is_quasar, mean, std)
        loss = loss + self.weight * ordinal_loss(ramps, examples.z, examples.is_quasar, low, high)
        return loss.sum() / examples.is_quasar.sum().clamp(min=1)

    def after_step(self, network):
        """Make the second half of ``fc2`` the first minus one: ``relu(t) - relu(t - 1)`` is ``t`` clipped to [0, 1]."""
        layer = network.fc2[0]
        half = layer.out_features // 2
        with torch.no_grad():
            layer.weight[half:] = layer.weight[:half]
            layer.bias[half:] = layer.bias[:half] - 1.0

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        return point_estimate(network(x), mean=self.mean, std=self.std), None
