"""QuasarNET: line finders. For each of a few emission lines, in which of 13 boxes of wavelength it is, and where in it.

Four strided convolutions and one dense layer, then for each line 13 confidences, one for each box, and 13 offsets, the
place of the line in the box.  A line's confidence is that of its best box; the most confident line gives the redshift;
what has several confident lines is a quasar.

Two details differ from the published network: the wavelength of H alpha is that in vacuum, 6564.61 Angstrom (the
original has the one in air, 6562.8), and the place of a line is not rounded to a whole pixel.  Pixels without data are
at the mean of the spectrum.

References
----------
Busca N., Balland C. 2018, arXiv:1808.09955.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from specz_cnn.models.network import Network, Objective, architecture
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = [
    "FIRST_WAVELENGTH",
    "LINES",
    "LineObjective",
    "QuasarNET",
    "line_targets",
    "quasarnet_loss",
    "weighted_standardise",
]

#: Lines and their vacuum wavelengths in Angstrom; the last stands for broad absorption next to C IV.
LINES = {
    "Lya": 1215.67,
    "CIV": 1548.2049,
    "CIII": 1908.734,
    "MgII": 2796.3511,
    "Hb": 4862.68,
    "Ha": 6564.61,
    "CIV_BAL": 1548.2049,
}

#: Left edge of the first pixel in Angstrom; pixels are 1e-3 wide in log10(wavelength).
FIRST_WAVELENGTH = 3600.0

_PIXEL = 1e-3
_TINY = 1e-7  # keeps the loss of a line that no spectrum of a batch shows from being 0 / 0
# Width of a line's contribution to p(z) in ln(1 + z): about the published dispersion.
_KERNEL = 650.0 / SPEED_OF_LIGHT
_REACH = 4  # of the kernel, in units of its width
_FLOOR = 1e-9  # probability of each bin of p(z) that no box points at


def weighted_standardise(flux, ivar):
    """Published preprocessing: minus the weighted mean, over the weighted root mean square.

    Parameters
    ----------
    flux, ivar : `torch.Tensor` or array_like, shape (batch, n_pixels)
        Flux density and inverse variance; ``ivar = 0`` means no data.

    Returns
    -------
    `torch.Tensor`, float32, shape (batch, n_pixels)
        Zero where there is no data; all zeros for a spectrum without data or contrast.
    """
    # In double precision: flux of any unit may be squared.
    flux, ivar = (torch.as_tensor(values).double() for values in (flux, ivar))
    good = (ivar > 0) & torch.isfinite(ivar) & torch.isfinite(flux)
    flux = torch.where(good, flux, 0.0)
    weight = torch.where(good, ivar, 0.0)
    weight = weight / weight.amax(1, keepdim=True).clamp(min=1e-300)
    total = weight.sum(1, keepdim=True).clamp(min=1e-300)
    mean = (weight * flux).sum(1, keepdim=True) / total
    rms = ((weight * (flux - mean) ** 2).sum(1, keepdim=True) / total).sqrt()
    contrast = rms > 1e-6 * mean.abs()
    x = (flux - mean) / torch.where(contrast, rms, 1.0) * (good & contrast)
    return x.clamp(-1e4, 1e4).float()


def line_targets(z, is_quasar, n_boxes=13, *, n_pixels=443, is_bal=None):
    """Box of each line, and the place in it.

    Parameters
    ----------
    z : `torch.Tensor`, shape (batch,)
    is_quasar : `torch.Tensor` of bool, shape (batch,)
        Spectra of other objects have no line in any box.
    n_boxes, n_pixels : int
    is_bal : `torch.Tensor`, shape (batch,), optional
        1 for quasars with broad absorption lines, 0 for others.

    Returns
    -------
    box : `torch.Tensor`, shape (batch, n_lines, n_boxes)
        1 in the box that holds the line; all zeros for a line out of range.
    offset : `torch.Tensor`, shape (batch, n_lines)
        Place of the line in its box, from 0 to 1.
    """
    place = _log_lines(z.device) + torch.log10(1 + z.double())[:, None] - math.log10(FIRST_WAVELENGTH)
    place = place / (_PIXEL * n_pixels) * n_boxes
    shown = (place >= 0) & (place < n_boxes) & is_quasar[:, None]
    if is_bal is not None:
        shown = torch.cat([shown[:, :-1], shown[:, -1:] & (is_bal > 0.5)[:, None]], 1)
    index = place.floor().clamp(0, n_boxes - 1)
    box = nn.functional.one_hot(index.long(), n_boxes) * shown[..., None]
    return box.float(), (place - index).float()


def _log_lines(device):
    return torch.log10(torch.tensor(list(LINES.values()), dtype=torch.float64, device=device))


def quasarnet_loss(output, z, is_quasar, *, n_pixels=443, is_bal=None):
    """Published loss: for each line the cross-entropy of full boxes, of empty boxes, and the error of the offset.

    Each of the three is a mean over the boxes of the batch that it concerns, so that the many empty ones do not
    outweigh the few that hold a line.

    Parameters
    ----------
    output : `torch.Tensor`, shape (batch, n_lines, 2 * n_boxes)
        See `QuasarNET.forward`.
    z, is_quasar, is_bal
        As for `line_targets`.  Where ``is_bal`` is NaN, unknown, the unit for broad absorption is left alone; without
        it, everywhere.

    Returns
    -------
    `torch.Tensor`
        The sum over lines, a number.
    """
    n_boxes = output.shape[2] // 2
    known = torch.full_like(z, math.nan) if is_bal is None else is_bal.to(z)
    box, offset = line_targets(z, is_quasar, n_boxes, n_pixels=n_pixels, is_bal=torch.nan_to_num(known))
    counts = torch.ones_like(offset)
    counts[:, -1] = torch.isfinite(known) | ~is_quasar
    full, empty = box * counts[..., None], (1 - box) * counts[..., None]
    logit, found = output[..., :n_boxes], output[..., n_boxes:]
    n_full, n_empty = full.sum((0, 2)) + _TINY, empty.sum((0, 2)) + _TINY
    right = nn.functional.softplus(-logit)  # -ln(confidence)
    wrong = nn.functional.softplus(logit)  # -ln(1 - confidence)
    error = (offset[..., None] - found) ** 2
    lines = ((full * (right + error)).sum((0, 2))) / n_full + (empty * wrong).sum((0, 2)) / n_empty
    return lines.sum()


def _convolution(n_in, n_out):
    return nn.Sequential(nn.Conv1d(n_in, n_out, 10, stride=2), _norm(n_out), nn.ReLU())


def _norm(n):
    # Constants of the published network, in the convention of torch.
    return nn.BatchNorm1d(n, eps=1e-3, momentum=0.01)


@architecture
class QuasarNET(Network):
    """The published network.

    Parameters
    ----------
    n_pixels : int
        Length of the input.
    n_boxes : int
        Boxes that the wavelength range is divided into.
    n_lines_needed : int
        Lines that must be confident for a quasar: the odds of being one are those of the line of this rank.
    """

    preprocess = staticmethod(weighted_standardise)
    preprocess_version = 1

    def __init__(self, n_pixels=443, n_boxes=13, n_lines_needed=2):
        super().__init__()
        self.n_pixels, self.n_boxes, self.n_lines_needed = n_pixels, n_boxes, n_lines_needed
        n = n_pixels
        for _ in range(4):
            n = (n - 10) // 2 + 1
        if n < 1:
            raise ValueError(f"QuasarNET needs at least 160 pixels, not {n_pixels}")
        self.features = nn.Sequential(_convolution(1, 100), *(_convolution(100, 100) for _ in range(3)))
        self.dense = nn.Sequential(nn.Linear(100 * n, 100), _norm(100), nn.ReLU())
        # One dense layer for each line, side by side in one matrix.
        self.lines = nn.Linear(100, 2 * n_boxes * len(LINES))

    def forward(self, x):
        """Confidences and offsets of all boxes.

        Parameters
        ----------
        x : `torch.Tensor`, shape (batch, n_pixels)
            Output of `weighted_standardise`.

        Returns
        -------
        `torch.Tensor`, shape (batch, n_lines, 2 * n_boxes)
            For each line of `LINES` the logits of the confidences, then the offsets, -0.1 to 1.1 boxes.
        """
        hidden = self.dense(self.features(x[:, None]).flatten(1))
        logit, offset = self.lines(hidden).unflatten(1, (len(LINES), 2, self.n_boxes)).unbind(2)
        return torch.cat([logit, 1.2 * offset.sigmoid() - 0.1], 2)

    def read_lines(self, output):
        """Line confidences and redshifts, as published.

        Parameters
        ----------
        output : `torch.Tensor`, shape (batch, n_lines, 2 * n_boxes)
            See `forward`.

        Returns
        -------
        confidence, z : `torch.Tensor`, float64, shape (batch, n_lines)
            Confidence of each line's best box, and the redshift at which the line is where that box says.
        """
        logit, u = _boxes(output.double(), self.n_pixels)
        best = logit.argmax(2, keepdim=True)
        return logit.gather(2, best)[..., 0].sigmoid(), torch.expm1(u.gather(2, best)[..., 0])

    @staticmethod
    def read(network, x):
        """Logits of bins of ln(1 + z) and of "not a quasar", and the published redshift: see `Network.read`.

        p(z) is the sum over all boxes of all emission lines of a Gaussian at the redshift that box and offset give, as
        high as the confidence.  The odds of being a quasar are those of the line of rank ``n_lines_needed``, so that a
        threshold on them is the published rule.
        """
        bins = network.info.bins
        logit, u = _boxes(network(x).double(), network.n_pixels)
        logit, u = logit[:, :-1], u[:, :-1]  # without the unit for broad absorption
        line, box = logit.max(2)
        best = line.argmax(1)
        point = u[torch.arange(len(u)), best, box[torch.arange(len(u)), best]].clamp(min=0)
        odds = line.sort(1, descending=True).values[:, network.n_lines_needed - 1]
        p = _mixture(logit.sigmoid().flatten(1), u.flatten(1), bins)
        return torch.cat([p.log(), -odds[:, None], point[:, None]], 1)

    def objective(self, *, bins=None, target=None):
        """The published loss: see `Network.objective`."""
        return LineObjective(self.n_pixels)


def _boxes(output, n_pixels):
    """Logits of all boxes, and ln(1 + z) of the line being where they say; two arrays (batch, n_lines, n_boxes)."""
    logit, offset = output.chunk(2, 2)
    n_boxes = logit.shape[2]
    place = (torch.arange(n_boxes, device=output.device) + offset) / n_boxes * n_pixels
    log_line = _log_lines(output.device)[:, None]
    return logit, (math.log10(FIRST_WAVELENGTH) + _PIXEL * place - log_line) * math.log(10.0)


def _mixture(weight, u, bins):
    """Weights at ln(1 + z) as a smooth distribution over bins, rows of which sum to one."""
    n_bins, step = bins["n"], bins["step"]
    place = u / step - 0.5
    low = place.floor()
    share = place - low
    p = torch.zeros(
        len(u), n_bins + 2, dtype=u.dtype, device=u.device
    )  # what lies outside goes to either end
    for index, part in ((low, 1 - share), (low + 1, share)):
        p.scatter_add_(1, index.long().clamp(-1, n_bins) + 1, weight * part)
    width = _KERNEL / step
    reach = math.ceil(_REACH * width)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=u.dtype, device=u.device) / width) ** 2)
    p = nn.functional.conv1d(p[:, None, 1:-1], (kernel / kernel.sum())[None, None], padding=reach)[:, 0]
    p = p + _FLOOR
    return p / p.sum(1, keepdim=True)


class LineObjective(Objective):
    """Boxes and offsets of lines, see `quasarnet_loss`."""

    def __init__(self, n_pixels):
        self.n_pixels = n_pixels

    def loss(self, network, examples):
        """See `Objective.loss`."""
        output = network(examples.x)
        return quasarnet_loss(
            output, examples.z, examples.is_quasar, n_pixels=self.n_pixels, is_bal=examples.is_bal
        )

    def estimate(self, network, x):
        """See `Objective.estimate`."""
        confidence, z = network.read_lines(network(x))
        confidence, z = confidence[:, :-1], z[:, :-1]
        best = confidence.argmax(1, keepdim=True)
        rank = confidence.sort(1, descending=True).values[:, network.n_lines_needed - 1]
        return z.gather(1, best)[:, 0], rank
