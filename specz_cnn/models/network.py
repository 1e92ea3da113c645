"""What a network declares about itself, so that nothing else needs to know which one it is.

An architecture is a subclass of `Network`, in a module of its own, with the decorator `architecture`.  It says how a
spectrum is prepared for it, what its output means, how it is trained and, if there is one, which faster equivalent to
use.  Its wavelength grid and its redshift bins are data, of a recipe and of a weights file.

The common form of outputs, of which posteriors and calibrations are made, is an array with a row for each spectrum:

* logits of bins of ln(1 + z), and of "not a quasar"; optionally one more column, ln(1 + z) as the network itself puts
  it, if that is not the peak of the bins;
* or ln(1 + z) and its standard deviation, of a network that returns one number.

Anything else, boxes around lines or chi2 at many redshifts, is brought to one of these by `Network.read`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import torch
from torch import nn

from specz_cnn.models.fftconv import single_precision
from specz_cnn.models.losses import ordinal_loss, point_estimate, redshift_cross_entropy, regression_loss
from specz_cnn.models.preprocess import PREPROCESS_VERSION, standardise

__all__ = [
    "CrossEntropy",
    "LogitsNetwork",
    "Network",
    "NumberNetwork",
    "Objective",
    "OrdinalRegression",
    "Regression",
    "architecture",
    "architectures",
    "dropout_samples",
]

# Monte-Carlo dropout of networks that return one number.
_DROPOUT_SAMPLES = 16
_DROPOUT_SEED = 20220421
_DROPOUT_RATE = 0.1  # for networks trained without

_REGISTERED: dict[str, type[Network]] = {}


def architecture(cls):
    """Class decorator: weights files and recipes may name this architecture from now on.

    Parameters
    ----------
    cls : type
        A subclass of `Network`, known by its name.

    Returns
    -------
    type
        The same.
    """
    _REGISTERED[cls.__name__] = cls
    return cls


def architectures():
    """All architectures: those of the modules beside this one, and those that others have registered.

    Returns
    -------
    dict of str to type
    """
    for module in iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")
    return dict(sorted(_REGISTERED.items()))


class Network(nn.Module):
    """Base of all architectures; see the module."""

    #: Version of `preprocess`; goes into the metadata of weights, and weights made for another one are refused.
    preprocess_version = PREPROCESS_VERSION

    @staticmethod
    def preprocess(flux, ivar):
        """What enters the network.

        Parameters
        ----------
        flux, ivar : `torch.Tensor` or array_like, shape (batch, n_pixels)
            On the network's grid; ``ivar = 0`` means no data.

        Returns
        -------
        `torch.Tensor`, shape (batch, ...)
        """
        return standardise(flux, ivar)

    @staticmethod
    def read(network, x):
        """Output in the common form.

        Parameters
        ----------
        network : `torch.nn.Module`
            A network of this architecture, or what its `for_inference` gave, with the attribute ``info``.
        x : `torch.Tensor`, shape (batch, ...)
            From `preprocess`, on the network's device.

        Returns
        -------
        `torch.Tensor`, float64, shape (batch, n_columns)
            See the module.
        """
        raise NotImplementedError

    def objective(self, *, bins=None, target=None, **options):
        """How it is trained.

        Parameters
        ----------
        bins, target : dict or None
            As in `ModelInfo`.
        **options
            Further settings of the training table of a recipe.

        Returns
        -------
        Objective
        """
        raise NotImplementedError

    def adapt(self, state):
        """Parameters of another network of this kind in the shapes of this one's, for a training that starts from them.

        Parameters
        ----------
        state : dict of str to `torch.Tensor`

        Returns
        -------
        dict of str to `torch.Tensor`
            By default the same.
        """
        return state

    def for_inference(self):
        """A faster equivalent, which may share parameters; by default the network itself.

        Returns
        -------
        `torch.nn.Module`
        """
        return self

    def for_opinion(self):
        """An equivalent for second opinions, of which only the peak counts: the precision may be that of a percent.

        Returns
        -------
        `torch.nn.Module`
            By default what `for_inference` gives.
        """
        return self.for_inference()


class Objective:
    """What a training minimises, and how the network's answers are judged on the way."""

    def loss(self, network, examples):
        """Mean loss of a batch.

        Parameters
        ----------
        network : `torch.nn.Module`
            The network, or a wrapper around it.
        examples : `~specz_cnn.training.sources.Examples`

        Returns
        -------
        `torch.Tensor`
            A number.
        """
        raise NotImplementedError

    def after_step(self, network):
        """Called with the network after each step of the optimiser."""

    def estimate(self, network, x):
        """Answers of a network in training.

        Parameters
        ----------
        network : `torch.nn.Module`
        x : `torch.Tensor`, shape (batch, ...)

        Returns
        -------
        z : `torch.Tensor`, shape (batch,)
        p_qso : `torch.Tensor`, shape (batch,), or None
            More than one half for what is called a quasar; None of a network that cannot tell.
        """
        raise NotImplementedError


class CrossEntropy(Objective):
    """Cross-entropy over redshift bins and "not a quasar".

    Parameters
    ----------
    step : float
        Width of the bins in ln(1 + z).
    width : float
        Standard deviation of the target over bins.
    """

    def __init__(self, step, width):
        self.step, self.width = step, width

    def loss(self, network, examples):
        """See `Objective.loss`."""
        output = network(examples.x)
        return redshift_cross_entropy(
            output, examples.z, examples.is_quasar, self.step, width=self.width
        ).mean()

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        output = network(x)
        return point_estimate(output, step=self.step), 1 - output.log_softmax(1)[:, -1].exp()


class Regression(Objective):
    """Smooth absolute error of a standardised number.

    Parameters
    ----------
    mean, std : float
        Standardisation of ln(1 + z).
    """

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def loss(self, network, examples):
        """See `Objective.loss`."""
        values = regression_loss(network(examples.x), examples.z, examples.is_quasar, self.mean, self.std)
        return values.sum() / examples.is_quasar.sum().clamp(min=1)

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        return point_estimate(network(x), mean=self.mean, std=self.std), None


class OrdinalRegression(Objective):
    """Regression with the units before the last layer paired to ramps.

    Each ramp, clipped to [0, 1], answers whether ln(1 + z) is above one of the steps between ``low`` and ``high``; the last
    layer adds them up and stays as it is.  An odd unit is left out.

    Parameters
    ----------
    network : `torch.nn.Module`
        A `NumberNetwork`, changed in place.
    mean, std : float
        Standardisation of ln(1 + z).
    low, high : float
        Range of ln(1 + z).
    weight : float
        Weight of the ordinal loss of the ramps beside the regression loss of the sum.
    """

    def __init__(self, network, mean, std, low, high, weight):
        self.mean, self.std, self.low, self.high, self.weight = mean, std, low, high, weight
        layer = network.last_layers[1]
        half = layer.in_features // 2
        step = (high - low) / half
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[:, :half] = step / std
            layer.weight[:, half : 2 * half] = -step / std
            layer.bias.fill_((low - mean) / std)
        layer.requires_grad_(False)
        self.after_step(network)

    def loss(self, network, examples):
        """See `Objective.loss`."""
        hidden = network.trunk(examples.x)
        with single_precision(hidden):
            ramps = network.last_layers[0](hidden.float())
        ramps = ramps[:, : ramps.shape[1] // 2]
        low, high, mean, std = self.low, self.high, self.mean, self.std
        output = (low + (high - low) * ramps.clamp(0, 1).mean(1, keepdim=True) - mean) / std
        loss = regression_loss(output, examples.z, examples.is_quasar, mean, std)
        loss = loss + self.weight * ordinal_loss(ramps, examples.z, examples.is_quasar, low, high)
        return loss.sum() / examples.is_quasar.sum().clamp(min=1)

    def after_step(self, network):
        """Make the second half of the units the first minus one: ``relu(t) - relu(t - 1)`` is ``t`` clipped to [0, 1]."""
        layer = network.last_layers[0]
        half = layer.out_features // 2
        with torch.no_grad():
            layer.weight[half : 2 * half] = layer.weight[:half]
            layer.bias[half : 2 * half] = layer.bias[:half] - 1.0

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        return point_estimate(network(x), mean=self.mean, std=self.std), None


class LogitsNetwork(Network):
    """Architecture whose output is logits of redshift bins and, last, of "not a quasar"."""

    @staticmethod
    def read(network, x):
        """The output as it is: see `Network.read`."""
        return network(x).double()

    def objective(self, *, bins=None, target=None, target_width=0.8):
        """Cross-entropy: see `Network.objective`.  ``target_width`` is the width of the target in bins."""
        return CrossEntropy(bins["step"], target_width)


class NumberNetwork(Network):
    """Architecture that returns one number, standardised ln(1 + z), and has methods for Monte-Carlo dropout.

    ``convolutions(x)`` gives activations, shape (batch, n), ``dense(activations)`` the number, shape (batch, 1); ``trunk(x)``
    gives what enters the first of `last_layers`.
    """

    @property
    def last_layers(self):
        """The last two linear layers, between which is a ReLU."""
        raise NotImplementedError

    @staticmethod
    def read(network, x):
        """The number and its standard deviation under dropout: see `Network.read`."""
        target = network.info.target
        number, spread = dropout_samples(network, x)
        return torch.stack([number * target["std"] + target["mean"], spread * target["std"]], 1)

    def objective(self, *, bins=None, target=None, ordinal=None):
        """Regression, or with ``ordinal`` that of `OrdinalRegression`: see `Network.objective`.

        ``ordinal`` is ``{"low": a, "high": b, "weight": w}``.
        """
        return Regression(**target) if ordinal is None else OrdinalRegression(self, **target, **ordinal)


def dropout_samples(network, x):
    """Output of a network without dropout, and the standard deviation of its outputs with it.

    Every spectrum meets the same fixed set of dropped activations, so that a result depends on nothing but the
    spectrum.

    Parameters
    ----------
    network : `torch.nn.Module`
        With the methods that `NumberNetwork` asks for.
    x : `torch.Tensor`, shape (batch, ...)

    Returns
    -------
    number, spread : `torch.Tensor`, float64, shape (batch,)
    """
    activations = network.convolutions(x)
    number = network.dense(activations)[:, 0].double()
    rate = getattr(getattr(network, "drop_out", None), "p", 0.0) or _DROPOUT_RATE
    generator = torch.Generator().manual_seed(_DROPOUT_SEED)
    size = _DROPOUT_SAMPLES, activations.shape[1]
    # Of stated type: torch's default type decides which numbers are drawn.
    keep = torch.rand(size, generator=generator, dtype=torch.float32) >= rate
    masks = (keep / (1 - rate)).to(activations)
    samples = torch.stack([network.dense(activations * mask)[:, 0] for mask in masks], 1).double()
    return number, samples.std(1)
