"""What a classifier sees that tells real spectra from simulated ones: scales, wavelengths, the errors.

Two ways of asking.  What is enough: the classifier learns from one part of the spectra alone, such as their smallest scales.
What carries: the classifier that learned from everything is shown spectra with a window of wavelengths hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from specz_cnn.models.preprocess import standardise

__all__ = ["PARTS", "Told", "draw_map", "told_apart", "wavelength_map"]

_FOLDS, _EPOCHS, _WINDOW = 5, 60, 40


class _Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 16, 15, 2),
            nn.ReLU(),
            nn.Conv1d(16, 16, 9, 3),
            nn.ReLU(),
            nn.Conv1d(16, 16, 5, 2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 1))

    def forward(self, x):
        y = self.body(x)
        return self.head(torch.cat([y.mean(2), y.amax(2)], 1))[:, 0]


@dataclass(frozen=True)
class Told:
    """Held-out decisions: the logit for the right answer of real and simulated spectra, and what hiding a window takes from it.

    ``real``, ``simulated`` have the shape (n,), ``drop`` (2, n, n_windows) or None.
    """

    real: np.ndarray
    simulated: np.ndarray
    drop: np.ndarray | None

    def accuracy(self, chosen=slice(None)):
        """Share of right decisions, of some objects."""
        return float((np.concatenate([self.real[chosen], self.simulated[chosen]]) > 0).mean())


def told_apart(real, simulated, seed=0, hide=False):
    """Train and judge a small network on inputs of shape (n, 2, n_pixels), an object and its simulation in the same fold."""
    rng = np.random.default_rng(seed)
    n = len(real)
    fold = rng.permutation(np.arange(n) % _FOLDS)
    margin = np.zeros((2, n))
    windows = torch.arange(real.shape[2]).split(_WINDOW)
    drop = np.zeros((2, n, len(windows))) if hide else None
    for k in range(_FOLDS):
        torch.manual_seed(1000 * seed + k)
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        x = torch.cat([real[train], simulated[train]])
        y = torch.cat([torch.ones(len(train)), torch.zeros(len(train))])
        network = _fit(x, y)
        with torch.inference_mode():
            for side, (sign, spectra) in enumerate(((1, real[test]), (-1, simulated[test]))):
                margin[side, test] = sign * network(spectra).numpy()
                for w, pixels in enumerate(windows if hide else ()):
                    hidden = spectra.clone()
                    hidden[:, :, pixels] = x[:, :, pixels].mean(0)
                    drop[side, test, w] = margin[side, test] - sign * network(hidden).numpy()
    return Told(margin[0], margin[1], drop)


def _fit(x, y):
    network = _Classifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def _smooth(flux, ivar, sigma):
    """Gaussian average, weighted by what each pixel is known to."""
    offset = torch.arange(-3 * sigma, 3 * sigma + 1)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)[None, None]
    weight = ivar / (ivar + ivar.mean(1, keepdim=True))

    def convolve(values):
        return nn.functional.conv1d(values[:, None], kernel, padding=3 * sigma)[:, 0]

    return convolve(flux * weight) / convolve(weight).clamp(min=1e-9)


def _one_channel(values):
    return torch.stack([values, torch.zeros_like(values)], 1)


def _everything(flux, ivar):
    return standardise(flux, ivar)


def _continuum(flux, ivar):
    level = (flux * ivar).sum(1, keepdim=True) / ivar.sum(1, keepdim=True)
    return _one_channel((_smooth(flux, ivar, 32) / level - 1).clamp(-3, 6) * (ivar > 0))


def _lines(flux, ivar):
    wide = _smooth(flux, ivar, 32)
    level = (flux * ivar).sum(1, keepdim=True) / ivar.sum(1, keepdim=True)
    return _one_channel(((_smooth(flux, ivar, 4) - wide) / level).clamp(-2, 4) * (ivar > 0))


def _small(flux, ivar):
    return _one_channel(((flux - _smooth(flux, ivar, 4)) * ivar.sqrt()).clamp(-6, 6))


def _errors(flux, ivar):
    relative = torch.log2(1e-3 + ivar / ivar.mean(1, keepdim=True))
    return _one_channel(torch.where(ivar > 0, relative, -10.0))


#: What the classifier may learn from; a pixel is 276 km/s wide.
PARTS = {
    "everything": _everything,
    "continuum, beyond 32 pixels": _continuum,
    "4 to 32 pixels": _lines,
    "below 4 pixels, in errors": _small,
    "the errors alone": _errors,
}


def wavelength_map(told, wavelength, z, edges):
    """Mean loss of the logit when a window is hidden, by observed window, and by rest wavelength (NaN where nothing is).

    Returns
    -------
    centre, observed, rest : `~numpy.ndarray`
    """
    chunks = [wavelength[i : i + _WINDOW] for i in range(0, len(wavelength), _WINDOW)]
    centre = np.array([chunk.mean() for chunk in chunks])
    drop = np.mean([one.drop.mean(0) for one in told], 0)  # (n, n_windows)
    place = np.digitize(centre[None] / (1 + np.asarray(z)[:, None]), edges) - 1
    rest = [drop[place == i].mean() if (place == i).sum() > 20 else np.nan for i in range(len(edges) - 1)]
    return centre, drop.mean(0), np.array(rest)


def draw_map(path, title, accuracies, centre, observed, edges, rest):
    """The figure: how much of the decision each part, and each wavelength, carries."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", width_ratios=(1.2, 1, 1))
    names = list(accuracies)[::-1]
    mean = [np.mean(accuracies[name]) for name in names]
    axes[0].barh(names, mean, xerr=[np.std(accuracies[name]) for name in names], color="#56B4E9")
    axes[0].axvline(0.5, color="0.4", lw=0.8, ls=":")
    axes[0].set_xlim(0.4, 1)
    axes[0].set_xlabel("told apart from this alone")
    axes[1].bar(centre, observed, width=np.gradient(centre), color="#E69F00")
    axes[1].set_xlabel("observed wavelength (Å)")
    axes[2].stairs(np.nan_to_num(rest), edges, fill=True, color="#009E73")
    axes[2].set_xscale("log")
    axes[2].set_xlabel("rest wavelength (Å)")
    for axis in axes[1:]:
        axis.set_ylabel("logit lost when hidden")
        axis.axhline(0, color="0.4", lw=0.8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
