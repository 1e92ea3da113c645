"""A network of less arithmetic that begins with what a trained one knows.

Features of neighbouring pixels resemble each other, so that a few features at every ``stride``-th pixel span what as many at
every pixel say.  The convolutions of the new network learn features from which a linear layer makes the teacher's at all pixels,
with the least error in the teacher's correlations.  The linear layer then goes into the templates, which it only mixes; what comes
after the correlations is the teacher's.  From there the network is trained as any other.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import nn

__all__ = ["slim"]

_RATE = 3e-3
_WARMUP = 200  # steps
_AVERAGE = 0.999
_FLOOR = 1.5  # standard deviations by which features, which the ReLU keeps positive, begin above zero
_REGULAR = 1e-6
_LOOK = 500  # steps from one line of the log to the next

log = logging.getLogger(__name__)


def slim(network, teacher, source, steps):
    """Start a network from a trained one of more arithmetic.

    Parameters
    ----------
    network : RNetE
        Any ``channels``, ``kernels`` and ``stride``; the rest as the teacher's.  It is changed in place.
    teacher : RNetE
        With stride 1.
    source : object with ``batch(step) -> Examples``
    steps : int
        For which the convolutions learn.

    Raises
    ------
    ValueError
        If the teacher has a stride, or differs in more than the convolutions.
    """
    same = ("n_pixels", "n_bins", "n_segments")
    if teacher.stride != 1 or any(getattr(network, name) != getattr(teacher, name) for name in same):
        raise ValueError("a network is started from one with stride 1, the same pixels, bins and segments")
    training = network.training
    judged = source.batch(steps).x
    pupil = _Pupil(network, teacher.eval().requires_grad_(False)).to(judged.device)
    least = pupil.begin(judged)
    log.info("%d features leave %.4f of the variance of correlations", network.templates.shape[1], least)
    pupil.learn(source, steps)
    network.eval()
    with torch.no_grad():
        log.info("they have learned all but %.4f of it", pupil(judged))
        pupil.finish(judged)
    network.train(training)


def _scale(norm):
    return norm.weight / (norm.running_var + norm.eps).sqrt()


class _Pupil(nn.Module):
    """Convolutions that learn from those of another network, the linear layer between both, and what compares them."""

    def __init__(self, network, teacher):
        super().__init__()
        self.network, self.teacher, self.stride = network, teacher, network.stride
        self.linear = nn.Conv1d(network.templates.shape[1], self.stride * teacher.templates.shape[1], 1)
        # Phase p of a feature, p pixels further on, meets the template there.
        n = teacher.templates.shape[-1]
        padded = nn.functional.pad(teacher.templates.detach(), (0, self.stride - 1))
        self.register_buffer("templates", torch.cat([padded[..., p : p + n] for p in range(self.stride)], 1))
        scaled = self.templates * _scale(teacher.lag_norm)[:, None, None]
        scaled = scaled - scaled.mean(-1, keepdim=True)
        metric = torch.einsum("hcm,hdm->cd", scaled, scaled)
        metric /= metric.diagonal().mean()
        metric.diagonal().add_(_REGULAR)
        self.register_buffer("root", torch.linalg.cholesky(metric).T)
        self.variance = 1.0

    def wanted(self, x):
        """The teacher's features, phases as channels: shape (batch, stride * channels, n_pixels / stride)."""
        with torch.no_grad():
            features = self.teacher.features(x)
        return features.unflatten(-1, (-1, self.stride)).permute(0, 3, 1, 2).flatten(1, 2)

    @torch.no_grad()
    def begin(self, x):
        """Set the linear layer to principal components; returns what they leave of the variance."""
        wanted = self.wanted(x).movedim(1, 0).flatten(1)
        mean, n = wanted.mean(1), self.linear.in_channels
        turned = self.root @ (wanted - mean[:, None])
        value, vector = torch.linalg.eigh(turned @ turned.T / turned.shape[1])
        value, vector = value.flip(0).clamp(min=0), vector.flip(1)
        self.variance = value.sum()
        basis = torch.linalg.solve_triangular(self.root, vector[:, :n] * value[:n].sqrt(), upper=True)
        self.linear.weight.copy_(basis[..., None])
        self.linear.bias.copy_(mean - _FLOOR * basis.sum(1))
        self.network.features[-1][1].bias.fill_(_FLOOR)
        return float(1 - value[:n].sum() / self.variance)

    def forward(self, x):
        """Error in the teacher's correlations over their variance."""
        error = self.linear(self.network.features(x)) - self.wanted(x)
        return torch.einsum("cd,bdn->bcn", self.root, error).square().sum(1).mean() / self.variance

    def learn(self, source, steps):
        """Train the convolutions and the linear layer; the average of the weights is what stays."""
        learned = nn.ModuleList([self.network.features, self.linear]).train()
        averaged = {name: value.clone() for name, value in learned.state_dict().items()}
        optimizer = torch.optim.AdamW(
            learned.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0, fused=True
        )
        for step in range(steps):
            rate = _RATE * min(1, step / _WARMUP) * (0.501 + 0.5 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = self(source.batch(step).x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
            optimizer.step()
            weight = 1 - min(_AVERAGE, (1 + step) / (10 + step))
            for name, value in learned.state_dict().items():
                if value.is_floating_point():
                    averaged[name].lerp_(value, weight)
            if (step + 1) % _LOOK == 0:
                log.info("features: %d of %d steps, error %.4f", step + 1, steps, loss.item())
        learned.load_state_dict(averaged)

    @torch.no_grad()
    def finish(self, x):
        """Write what the teacher knows into the network."""
        network, teacher = self.network, self.teacher
        weight, bias = self.linear.weight[..., 0], self.linear.bias
        for name in ("lag", "direct"):
            getattr(network, name).load_state_dict(getattr(teacher, name).state_dict())
        network.bias.copy_(teacher.bias)
        # A constant in the features adds the same to all spectra at a redshift.
        constant = bias[None, :, None].expand(1, -1, network.n_pixels // self.stride)
        own, network.templates = network.templates, nn.Parameter(self.templates)
        offset = network.correlate(constant)[0]
        network.templates = own
        network.templates.copy_(torch.einsum("hwm,wc->hcm", self.templates, weight))
        # The normalisation shall do the same whether it takes its own figures or those of a batch.
        correlation = network.correlate(network.features(x))
        mean, variance = correlation.mean((0, 2)), correlation.var((0, 2))
        norm, scale = network.lag_norm, _scale(teacher.lag_norm)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(teacher.lag_norm.bias + scale * (mean - teacher.lag_norm.running_mean))
        network.lag_bias.copy_(teacher.lag_bias + scale[:, None] * offset)
        # Means over segments, by which quasars are told from other objects, are linear in the features as well.
        state, n_segments = teacher.other.state_dict(), network.n_segments
        mixed, mean_bias = (values.unflatten(0, (self.stride, -1)).mean(0) for values in (weight, bias))
        n_pooled = len(mixed) * n_segments
        pooled = state["0.weight"][:, :n_pooled].unflatten(1, (-1, n_segments))
        rest = state["0.weight"][:, n_pooled:]
        state["0.weight"] = torch.cat([torch.einsum("ofs,fc->ocs", pooled, mixed).flatten(1), rest], 1)
        state["0.bias"] = state["0.bias"] + pooled.sum(2) @ mean_bias
        network.other.load_state_dict(state)
