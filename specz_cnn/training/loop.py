"""The training loop: one-cycle AdamW, average of the weights, checkpoints, resume, log."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch

from specz_cnn.io.whole import write_whole
from specz_cnn.training.targets import ordinal_loss, redshift_cross_entropy, regression_loss
from specz_cnn.velocity import nmad, velocity_difference

__all__ = ["Trainer", "redshift_metrics"]

log = logging.getLogger(__name__)


def redshift_metrics(z, z_true):
    """Fractions within 600, 3000 and 6000 km/s, bias and NMAD (km/s) of the rest within 3000."""
    dv = velocity_difference(z, z_true)
    near = np.abs(dv) < 3000
    middle = np.median(dv[near]) if near.any() else np.nan
    return {
        "n": int(dv.size),
        "within_600": float((np.abs(dv) < 600).mean()),
        "within_3000": float(near.mean()),
        "within_6000": float((np.abs(dv) < 6000).mean()),
        "bias": float(middle),
        "nmad": float(nmad(dv[near])) if near.any() else math.nan,
    }


def point_estimate(output, step=None, mean=None, std=None):
    """Redshift from a network's output: the mean of p within three bins of its peak, or the number itself."""
    if step is None:
        return torch.expm1(output[:, 0] * std + mean)
    logits = output[:, :-1]
    n_bins = logits.shape[1]
    peak = torch.nn.functional.avg_pool1d(logits.softmax(1)[:, None], 5, 1, 2)[:, 0].argmax(1)
    bins = (peak[:, None] + torch.arange(-4, 5, device=logits.device)).clamp(0, n_bins - 1)
    weight = logits.gather(1, bins).softmax(1)
    return torch.expm1(step * ((weight * bins).sum(1) + 0.5))


def _tie_ramps(network):
    """Make the second half of ``fc2`` the first half minus one: ``relu(t) - relu(t - 1)`` is ``t`` clipped to [0, 1]."""
    layer = network.fc2[0]
    half = layer.out_features // 2
    with torch.no_grad():
        layer.weight[half:] = layer.weight[:half]
        layer.bias[half:] = layer.bias[:half] - 1.0


def _sum_ramps(network, ordinal, target):
    """Set ``fc3`` to the sum of the clipped ramps, standardised."""
    layer = network.fc3
    half = layer.in_features // 2
    step = (ordinal["high"] - ordinal["low"]) / half
    with torch.no_grad():
        layer.weight[:, :half] = step / target["std"]
        layer.weight[:, half:] = -step / target["std"]
        layer.bias.fill_((ordinal["low"] - target["mean"]) / target["std"])
    _tie_ramps(network)


class Trainer:
    """Train a network from a source of examples.

    Parameters
    ----------
    network : `torch.nn.Module`
    source : object with ``batch(step) -> Examples``
    directory : path-like
        For ``checkpoint.pt``, ``log.jsonl`` and the finished ``average.pt``.
    steps : int
        Number of optimiser steps.
    cycles : sequence of (int, int), optional
        ``(first step, length)``: from that step on the learning rate follows a cycle of that length instead of one of
        ``steps``; records a run whose length was changed on the way.
    rate : float
        Peak learning rate.
    warmup : float
        Share of the steps over which the rate rises.
    weight_decay : float
    average : float
        Decay of the exponential moving average of the weights.
    bins : dict or None
        ``{"n": K, "step": width}`` for networks with p(z).
    target : dict or None
        ``{"mean": m, "std": s}`` of ln(1 + z) for regression.
    target_width : float
        Standard deviation of the target over bins.
    ordinal : dict or None
        ``{"low": a, "high": b, "weight": w}``: for regression, let pairs of units of ``fc2`` form ramps, each clipped to
        [0, 1], that answer whether ln(1 + z) is above each of the steps between a and b; ``fc3`` adds them up.  The ordinal
        loss of the ramps has weight w beside that of the sum.
    freeze : sequence of str
        Prefixes of parameters that stay as they are.
    validation : dict of name -> Examples
    device : str or `torch.device`
    """

    def __init__(
        self,
        network,
        source,
        directory,
        *,
        steps,
        rate=2e-3,
        warmup=0.1,
        weight_decay=0.01,
        average=0.999,
        bins=None,
        target=None,
        target_width=0.8,
        ordinal=None,
        cycles=(),
        freeze=(),
        validation=None,
        checkpoint_every=500,
        device="cpu",
    ):
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.source, self.directory, self.steps = source, Path(directory), steps
        self.rate, self.warmup, self.average = rate, warmup, average
        self.bins, self.target, self.target_width = bins, target, target_width
        self.validation, self.checkpoint_every = validation or {}, checkpoint_every
        self.ordinal, self.cycles = ordinal, list(cycles)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(tuple(freeze)) if freeze else True)
        if ordinal:
            _sum_ramps(self.network, ordinal, target)
            self.network.fc3.requires_grad_(False)
        decay = [p for p in self.network.parameters() if p.requires_grad and p.dim() > 1]
        rest = [p for p in self.network.parameters() if p.requires_grad and p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=rate,
            betas=(0.9, 0.98),
        )
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.step = 0
        self.directory.mkdir(parents=True, exist_ok=True)

    def learning_rate(self, step):
        """One cycle: linear rise, cosine fall."""
        length = next((n for first, n in reversed(self.cycles) if step >= first), self.steps)
        rise = max(1.0, self.warmup * length)
        if step < rise:
            return self.rate * (step + 1) / rise
        return self.rate * (0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1.0, length - rise))) + 1e-6

    def loss(self, examples):
        """Mean loss of a batch."""
        if self.ordinal:
            return self._ordinal_loss(examples)
        output = self.network(examples.x)
        if self.bins:
            values = redshift_cross_entropy(
                output, examples.z, examples.is_quasar, self.bins["step"], width=self.target_width
            )
            return values.mean()
        count = examples.is_quasar.sum().clamp(min=1)
        mean, std = self.target["mean"], self.target["std"]
        return regression_loss(output, examples.z, examples.is_quasar, mean, std).sum() / count

    def _ordinal_loss(self, examples):
        ramps = self.network.fc2[0](self.network.trunk(examples.x))
        ramps = ramps[:, : ramps.shape[1] // 2]
        low, high, weight = (self.ordinal[name] for name in ("low", "high", "weight"))
        mean, std = self.target["mean"], self.target["std"]
        output = (low + (high - low) * ramps.clamp(0, 1).mean(1, keepdim=True) - mean) / std
        loss = regression_loss(output, examples.z, examples.is_quasar, mean, std)
        loss = loss + weight * ordinal_loss(ramps, examples.z, examples.is_quasar, low, high)
        return loss.sum() / examples.is_quasar.sum().clamp(min=1)

    def run(self, *, progress=None, max_seconds=math.inf):
        """Train to the last step, or until time is up; resumable either way.

        Returns
        -------
        bool
            Whether the last step was reached.
        """
        started, seen, total = time.perf_counter(), 0, 0.0
        self.network.train()
        while self.step < self.steps and time.perf_counter() - started < max_seconds:
            examples = self.source.batch(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            loss = self.loss(examples)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"loss became {loss.item()} at step {self.step}; resume with a lower rate"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            if self.ordinal:
                _tie_ramps(self.network)
            self.step += 1
            self._update_average()
            seen, total = seen + len(examples.z), total + loss.item() * len(examples.z)
            if progress:
                progress(self.step, self.steps, total / seen)
            if self.step % self.checkpoint_every == 0 or self.step == self.steps:
                rate = seen / (time.perf_counter() - started)
                self._record(loss=total / seen, rate=self.learning_rate(self.step), spectra_per_s=rate)
                total, seen, started_log = 0.0, 0, time.perf_counter()
                max_seconds -= started_log - started
                started = started_log
                self.save()
        self.save()
        return self.step == self.steps

    def _update_average(self):
        # A young average follows closely, or the first random weights would linger.
        decay = min(self.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for a, b in zip(
                self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True
            ):
                if a.dtype.is_floating_point:
                    a.lerp_(b, 1 - decay)
                else:
                    a.copy_(b)

    @torch.no_grad()
    def evaluate(self, examples, batch_size=256):
        """Metrics of the averaged weights on labelled examples."""
        self.averaged.eval()
        outputs = torch.cat([self.averaged(x) for x in examples.x.split(batch_size)])
        quasar = examples.is_quasar
        z = point_estimate(outputs, **({"step": self.bins["step"]} if self.bins else self.target))
        metrics = redshift_metrics(
            z[quasar].double().cpu().numpy(), examples.z[quasar].double().cpu().numpy()
        )
        if self.bins:
            other = outputs.log_softmax(1)[:, -1].exp()
            metrics["completeness"] = float((other[quasar] < 0.5).float().mean())
            if (~quasar).any():
                metrics["rejection"] = float((other[~quasar] > 0.5).float().mean())
        return metrics

    def _record(self, **values):
        entry = {"step": self.step, "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **values}
        for name, examples in self.validation.items():
            entry[name] = self.evaluate(examples)
        self.network.train()
        with open(self.directory / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
        log.info("%s", json.dumps(entry))

    def save(self):
        """Write the checkpoint."""
        state = {
            "step": self.step,
            "steps": self.steps,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with write_whole(self.directory / "checkpoint.pt") as part:
            torch.save(state, part)

    def resume(self):
        """Continue from the checkpoint, if there is one; returns whether there was."""
        path = self.directory / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["steps"] != self.steps:
            raise ValueError(f"{path} belongs to a run of {state['steps']} steps, not {self.steps}")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True
