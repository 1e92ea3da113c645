"""The training loop: AdamW, average of the weights, checkpoints, resume, log, several workers."""

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
from specz_cnn.training.schedules import Cycles, Plateau
from specz_cnn.training.workers import Workers
from specz_cnn.velocity import nmad, velocity_difference

__all__ = ["CHECKPOINT", "Trainer", "redshift_metrics"]

#: In the directory of a run.
CHECKPOINT = "checkpoint.pt"

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


class _Loss(torch.nn.Module):
    """The loss as a module, which several workers can compute in parallel."""

    def __init__(self, network, objective):
        super().__init__()
        self.network, self._objective = network, objective

    def forward(self, examples):
        return self._objective.loss(self.network, examples)


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
    rate : float
        Peak learning rate.
    warmup, cycles
        See `Cycles`: a record of runs whose length was changed on the way.
    plateau : dict, optional
        Settings of `Plateau` in place of a cycle; the rate then falls when the loss of the validation spectra, of real ones
        if there are any, rests from checkpoint to checkpoint.
    weight_decay : float
    average : float
        Decay of the exponential moving average of the weights.
    bins : dict or None
        ``{"n": K, "step": width}`` for networks with p(z).
    target : dict or None
        ``{"mean": m, "std": s}`` of ln(1 + z) for regression.
    freeze : sequence of str
        Prefixes of parameters that stay as they are.
    validation : dict of name -> Examples
    device : str or `torch.device`
    bf16 : bool
        Compute in half precision (bfloat16) what can be; parameters, transforms and losses stay in single precision.
    workers : Workers, optional
        This process among those that train together; each has its own ``source``.
    **options
        Further settings, for the network's own `objective`.
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
        cycles=(),
        plateau=None,
        freeze=(),
        validation=None,
        checkpoint_every=500,
        device="cpu",
        bf16=False,
        workers=None,
        **options,
    ):
        self.workers, self.bf16 = workers or Workers(), bf16
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.source, self.directory, self.steps = source, Path(directory), steps
        self.average = average
        self.schedule = Cycles(rate, steps, warmup, cycles) if plateau is None else Plateau(rate, **plateau)
        self.validation, self.checkpoint_every = validation or {}, checkpoint_every
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(tuple(freeze)) if freeze else True)
        self.objective = self.network.objective(bins=bins, target=target, **options)
        decay = [p for p in self.network.parameters() if p.requires_grad and p.dim() > 1]
        rest = [p for p in self.network.parameters() if p.requires_grad and p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._loss = self.workers.parallel(_Loss(self.network, self.objective))
        #: What simulated spectra were made from: ``"compact"``, ``"full"`` or, where there are none, None.
        self.bank = None
        #: Called with each entry of the log on the first worker; True ends the training.
        self.watch = None
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.step = 0
        self.directory.mkdir(parents=True, exist_ok=True)

    def run(self, *, progress=None, max_seconds=math.inf):
        """Train to the last step, or until time is up; resumable either way.

        Returns
        -------
        bool
            Whether the training is at its end: at the last step, or where `watch` has ended it.
        """
        workers = self.workers
        began = started = time.perf_counter()
        seen, total, ended = 0, 0.0, False
        self.network.train()
        while self.step < self.steps and not ended:
            if max_seconds < math.inf and workers.agree(time.perf_counter() - began >= max_seconds):
                break
            examples = self.source.batch(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate(self.step)
            with self._precision():
                loss = self._loss(examples)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"loss became {loss.item()} at step {self.step}; resume with a lower rate"
                )
            self.optimizer.zero_grad(set_to_none=True)
            # Gradients are averaged over workers: those with more examples count more.
            (loss * (len(examples.z) / workers.mean(len(examples.z)))).backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.objective.after_step(self.network)
            self.step += 1
            self._update_average()
            seen, total = seen + len(examples.z), total + loss.item() * len(examples.z)
            if progress:
                progress(self.step, self.steps, total / seen)
            if self.step % self.checkpoint_every == 0 or self.step == self.steps:
                rate = workers.size * workers.mean(seen) / (time.perf_counter() - started)
                mean = workers.mean(total / seen)
                if workers.first:
                    entry = self._record(loss=mean, rate=self.schedule.rate(self.step), spectra_per_s=rate)
                    ended = self.watch is not None and self.watch(entry)
                    rest = [entry[name]["loss"] for name in ("real", "simulated") if name in entry]
                    mean = rest[0] if rest else mean
                ended = workers.agree(ended)
                self.schedule.look(workers.same(mean))
                total, seen, started = 0.0, 0, time.perf_counter()
                self.save()
        self.save()
        return ended or self.step == self.steps

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

    def _precision(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    @torch.no_grad()
    def evaluate(self, examples, batch_size=256):
        """Metrics of the averaged weights on labelled examples; ``loss`` is that of the training."""
        with self._precision():
            return self._evaluate(examples, batch_size)

    def _evaluate(self, examples, batch_size):
        self.averaged.eval()
        parts = [self.objective.estimate(self.averaged, x) for x in examples.x.split(batch_size)]
        z = torch.cat([part[0] for part in parts])
        quasar = examples.is_quasar
        metrics = redshift_metrics(
            z[quasar].double().cpu().numpy(), examples.z[quasar].double().cpu().numpy()
        )
        if parts[0][1] is not None:
            called = torch.cat([part[1] for part in parts]) > 0.5
            metrics["completeness"] = float(called[quasar].float().mean())
            if (~quasar).any():
                metrics["rejection"] = float((~called[~quasar]).float().mean())
        batches = (examples.part(slice(i, i + batch_size)) for i in range(0, len(examples.z), batch_size))
        losses = [(self.objective.loss(self.averaged, part).item(), len(part.z)) for part in batches]
        metrics["loss"] = sum(loss * n for loss, n in losses) / len(examples.z)
        return metrics

    def _record(self, **values):
        entry = {"step": self.step, "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **values}
        for name, examples in self.validation.items():
            entry[name] = self.evaluate(examples)
        self.network.train()
        with open(self.directory / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
        log.info("%s", json.dumps(entry))
        return entry

    def save(self):
        """Write the checkpoint; of several workers, the first does."""
        if not self.workers.first:
            return
        state = {
            "step": self.step,
            "steps": self.steps,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state,
        }
        with write_whole(self.directory / CHECKPOINT) as part:
            torch.save(state, part)

    def resume(self):
        """Continue from the checkpoint, if there is one; returns whether there was."""
        path = self.directory / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["steps"] != self.steps:
            raise ValueError(f"{path} belongs to a run of {state['steps']} steps, not {self.steps}")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.schedule.state = state["step"], state.get("schedule", self.schedule.state)
        return True
