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
from torch.nn.functional import max_pool2d

from specz_cnn.models.fftconv import FFTConv1d, direct_convolution, single_precision
from specz_cnn.models.half import HalfRNetPZ, has_matrix_units
from specz_cnn.models.inference import InferenceRNet
from specz_cnn.models.network import LogitsNetwork, NumberNetwork, architecture

__all__ = ["RNet", "RNetPZ", "flat_size"]


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
        if torch.is_autocast_enabled(x.device.type):
            return self._convolutions_last(x)
        return self.layer3(self.layer2(self.layer1(x.unsqueeze(1)))).flatten(1)

    def _convolutions_last(self, x):
        """The same for training in half precision: filters as written and channels last in memory, far faster there."""
        x = x[:, None, None].contiguous(memory_format=torch.channels_last)
        for convolution, *_ in (self.layer1, self.layer2, self.layer3):
            x = max_pool2d(direct_convolution(convolution, x), (1, 2)).relu()
        return x[:, :, 0].flatten(1)

    def trunk(self, x):
        """Activations of ``fc1``: x as for `convolutions`, to shape (batch, 900)."""
        return self.fc1(self.drop_out(self.convolutions(x)))

    def dense(self, activations):
        """From what enters ``fc1``, shape (batch, flat_size), to the output, shape (batch, 1)."""
        return self.fc3(self.fc2(self.fc1(activations)))

    def forward(self, x):
        """Standardised ln(1 + z), shape (batch, 1)."""
        activations = self.trunk(x)
        # One part in 256 of a logit or a redshift would be felt; these layers are small.
        with single_precision(x):
            return self.fc3(self.fc2(activations.to(self.fc3.weight.dtype)))

    def adapt(self, state):
        """See `Network.adapt`: ``fc1`` as one matrix and as the product of two (`RNetPZ`) become each other."""
        adapted = dict(state)
        two, has_two = len(self.fc1) > 2, "fc1.1.weight" in state
        if "fc1.0.weight" not in state or two == has_two:
            return adapted
        if two:
            left, size, right = torch.linalg.svd(state["fc1.0.weight"], full_matrices=False)
            rank = self.fc1[0].out_features
            root = size[:rank].sqrt()
            adapted["fc1.0.weight"], adapted["fc1.1.weight"] = (
                root[:, None] * right[:rank],
                left[:, :rank] * root,
            )
            adapted["fc1.1.bias"] = adapted.pop("fc1.0.bias")
        else:
            adapted["fc1.0.weight"] = adapted.pop("fc1.1.weight") @ state["fc1.0.weight"]
            adapted["fc1.0.bias"] = adapted.pop("fc1.1.bias")
        return adapted

    @property
    def last_layers(self):
        """See `NumberNetwork.last_layers`."""
        return self.fc2[0], self.fc3

    def for_inference(self):
        """See `Network.for_inference`."""
        return InferenceRNet(self)


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
    rank : int, optional
        ``fc1``, 7.7 million weights, as the product of two matrices with so many rows and columns between them; as
        published if not given.
    """

    def __init__(self, n_pixels=1212, n_bins=1136, hidden=512, dropout=0.2, rank=None):
        super().__init__(n_pixels, dropout)
        if rank:
            narrow = nn.Linear(flat_size(n_pixels), rank, bias=False)
            self.fc1 = nn.Sequential(narrow, nn.Linear(rank, 900), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(900, hidden), nn.ReLU())
        self.fc3 = nn.Linear(hidden, n_bins + 1)

    def forward(self, x):
        """Logits of the redshift bins and, last, of "not a quasar": shape (batch, n_bins + 1)."""
        return super().forward(x)

    def for_opinion(self):
        """See `Network.for_opinion`."""
        on_cpu = self.fc3.weight.device.type == "cpu"
        return HalfRNetPZ(self) if on_cpu and has_matrix_units() else self.for_inference()

    read = staticmethod(LogitsNetwork.read)
    objective = LogitsNetwork.objective  # type: ignore[assignment]  # a number takes ramps in place of a width
