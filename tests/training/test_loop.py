"""The training loop: it learns, and an interrupted run ends where an undisturbed one does."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from specz_cnn.models import RNet, RNetE
from specz_cnn.models.losses import ordinal_loss, point_estimate, redshift_cross_entropy, regression_loss
from specz_cnn.training.loop import Trainer, redshift_metrics
from specz_cnn.training.sources import Examples

N_PIXELS, N_BINS, STEP = 96, 80, 0.004


class LineSource:
    """Spectra of one line whose place tells the redshift; a function of the step, as all sources are."""

    def __init__(self, batch_size=16, seed=0):
        self.batch_size, self.seed = batch_size, seed

    def batch(self, step):
        rng = np.random.default_rng([self.seed, step])
        u = rng.uniform(0.01, N_BINS * STEP - 0.01, self.batch_size)
        place = 10 + u / STEP
        x = rng.normal(0, 0.2, (self.batch_size, 2, N_PIXELS))
        quasar = rng.random(self.batch_size) < 0.8
        x[:, 0] += 4 * quasar[:, None] * np.exp(-0.5 * ((np.arange(N_PIXELS) - place[:, None]) / 2) ** 2)
        return Examples(
            torch.from_numpy(x.astype(np.float32)),
            torch.from_numpy(np.expm1(u).astype(np.float32)),
            torch.from_numpy(quasar),
        )


@pytest.fixture
def make_network():
    """A function that makes the same small RNet-E each time."""

    def make():
        torch.manual_seed(3)
        return RNetE(n_pixels=N_PIXELS, n_bins=N_BINS, channels=(4,), kernels=(5,), n_templates=2)

    return make


BINS = {"n": N_BINS, "step": STEP}


def make_trainer(make_network, directory, *, steps=12, **options):
    options = {"bins": BINS, "checkpoint_every": 4, **options}
    return Trainer(make_network(), LineSource(), directory, steps=steps, **options)


def parameters(trainer):
    return {
        **trainer.network.state_dict(),
        **{f"average.{k}": v for k, v in trainer.averaged.state_dict().items()},
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_resumed_run_ends_as_the_undisturbed_one(make_network, tmp_path):
    undisturbed = make_trainer(make_network, tmp_path / "undisturbed")
    assert undisturbed.run()

    first = make_trainer(make_network, tmp_path / "resumed")

    class Stop(Exception):
        pass

    def stop(step, steps, loss):
        if step == 7:
            raise Stop

    with pytest.raises(Stop):  # killed three steps after a checkpoint
        first.run(progress=stop)
    second = make_trainer(make_network, tmp_path / "resumed")
    assert second.resume() and second.step == 4
    assert second.run()
    assert_same(parameters(second), parameters(undisturbed))
    assert second.optimizer.state_dict()["param_groups"] == undisturbed.optimizer.state_dict()["param_groups"]


def test_time_that_is_up_leaves_a_checkpoint(make_network, tmp_path):
    trainer = make_trainer(make_network, tmp_path)
    assert not trainer.resume()
    assert not trainer.run(max_seconds=0)
    assert trainer.resume() and trainer.step == 0
    assert trainer.run()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        4,
        8,
        12,
    ]
    assert not list(tmp_path.glob(".part-*"))


def test_checkpoint_of_another_run_is_refused(make_network, tmp_path):
    make_trainer(make_network, tmp_path).run()
    with pytest.raises(ValueError, match="belongs to a run of 12 steps, not 13"):
        make_trainer(make_network, tmp_path, steps=13).resume()


def test_it_learns(make_network, tmp_path):
    validation = {"lines": LineSource(64, seed=9).batch(0)}
    trainer = make_trainer(
        make_network, tmp_path, steps=150, rate=2e-2, validation=validation, average=0.95, checkpoint_every=75
    )
    before = trainer.evaluate(validation["lines"])
    trainer.run()
    after = trainer.evaluate(validation["lines"])
    assert after["within_3000"] > before["within_3000"] + 0.2
    assert {"n", "nmad", "bias", "completeness", "rejection"} <= after.keys()
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert logged[-1]["lines"]["within_3000"] == after["within_3000"]


def test_loss_that_is_no_number_stops_the_run(make_network, tmp_path):
    trainer = make_trainer(make_network, tmp_path)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="at step 0; resume with a lower rate"):
        trainer.run()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_frozen_parameters_stay(make_network, tmp_path):
    trainer = make_trainer(make_network, tmp_path, freeze=["features"], steps=2)
    frozen = {name for name, p in trainer.network.named_parameters() if not p.requires_grad}
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run()
    moved = {
        name for name, value in trainer.network.named_parameters() if not torch.equal(value, before[name])
    }
    assert frozen.isdisjoint(moved) and moved


def test_a_plateau_lowers_the_rate_and_continues(make_network, tmp_path):
    """Judged by the loss of the validation spectra, which in twelve steps does not fall to a tenth."""
    settings = {
        "steps": 12,
        "rate": 1e-3,
        "checkpoint_every": 2,
        "plateau": {"factor": 0.2, "patience": 1, "threshold": 0.9},
        "validation": {"simulated": LineSource(8).batch(0)},
    }
    make_trainer(make_network, tmp_path / "whole", **settings).run()
    first = make_trainer(make_network, tmp_path / "parts", **settings)
    first.steps = 6
    first.run()
    first.steps = 12
    first.save()
    second = make_trainer(make_network, tmp_path / "parts", **settings)
    assert second.resume() and second.step == 6
    second.run()
    logs = [
        [json.loads(line)["rate"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert logs[0] == logs[1] == pytest.approx([1e-3, 1e-3, 1e-3, 2e-4, 2e-4, 4e-5])


def test_cross_entropy_is_least_at_the_truth():
    z = torch.expm1(torch.tensor([5.5, 20.5, 79.9]) * STEP)
    quasar = torch.ones(3, dtype=torch.bool)
    u = (torch.arange(N_BINS) + 0.5) * STEP
    logits = -0.5 * ((u - torch.log1p(z)[:, None]) / (0.8 * STEP)) ** 2
    right = redshift_cross_entropy(torch.cat([logits, torch.full((3, 1), -20.0)], 1), z, quasar, STEP)
    wrong = redshift_cross_entropy(
        torch.cat([logits.roll(9, 1), torch.full((3, 1), -20.0)], 1), z, quasar, STEP
    )
    assert (right < 2).all() and (wrong > right + 3).all()
    other = redshift_cross_entropy(torch.cat([logits, torch.full((3, 1), 20.0)], 1), z, ~quasar, STEP)
    assert (other < 1e-3).all()


def test_regression_loss_leaves_out_what_is_no_quasar():
    output = torch.tensor([[0.0], [5.0]])
    z = torch.expm1(torch.tensor([1.0, 1.0]))
    loss = regression_loss(output, z, torch.tensor([True, False]), 1.0, 0.5)
    assert loss[0] < 1e-6 and loss[1] == 0


def test_point_estimates():
    logits = torch.full((2, N_BINS + 1), -10.0)
    logits[0, 30], logits[1, 4] = 10.0, 10.0
    z = point_estimate(logits, step=STEP)
    torch.testing.assert_close(torch.log1p(z), torch.tensor([30.5, 4.5]) * STEP, rtol=1e-4, atol=1e-5)
    z = point_estimate(torch.tensor([[2.0]]), mean=0.5, std=0.25)
    torch.testing.assert_close(z, torch.expm1(torch.tensor([1.0])))


def test_metrics():
    metrics = redshift_metrics(np.array([2.0, 2.001, 3.0, 2.015]), np.full(4, 2.0))
    assert (metrics["n"], metrics["within_600"], metrics["within_3000"]) == (4, 0.5, 0.75)
    nothing = redshift_metrics(np.array([3.0]), np.array([2.0]))
    assert math.isnan(nothing["nmad"]) and math.isnan(nothing["bias"])


class TinyRegressor(torch.nn.Module):
    """The dense end of the published RNet behind one small convolution."""

    objective = RNet.objective
    last_layers = RNet.last_layers

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Sequential(
            torch.nn.Conv1d(1, 4, 7, padding=3), torch.nn.ReLU(), torch.nn.Flatten()
        )
        self.fc2 = torch.nn.Sequential(torch.nn.Linear(4 * N_PIXELS, 20), torch.nn.ReLU())
        self.fc3 = torch.nn.Linear(20, 1)

    def trunk(self, x):
        return self.first(x[:, :1])

    def forward(self, x):
        return self.fc3(self.fc2(self.trunk(x)))


def test_ordinal_training_ends_in_clipped_ramps(tmp_path):
    """The network's one number is the sum of ramps clipped to [0, 1], and it learns the redshift."""
    low, high = 0.0, N_BINS * STEP
    target = {"mean": 0.15, "std": 0.1}
    torch.manual_seed(5)
    trainer = Trainer(
        TinyRegressor(),
        LineSource(64),
        tmp_path,
        steps=300,
        rate=5e-3,
        target=target,
        ordinal={"low": low, "high": high, "weight": 1.0},
        checkpoint_every=100,
    )
    assert trainer.run()
    network = trainer.network.eval()
    examples = LineSource(200, seed=1).batch(0)
    with torch.no_grad():
        t = network.fc2[0](network.trunk(examples.x))
        expected = (low + (high - low) * t[:, :10].clamp(0, 1).mean(1) - target["mean"]) / target["std"]
        torch.testing.assert_close(network(examples.x)[:, 0], expected, atol=1e-4, rtol=0)
        quasar = examples.is_quasar
        z = point_estimate(network(examples.x), **target)[quasar]
        error = (torch.log1p(z) - torch.log1p(examples.z[quasar])).abs()
    torch.testing.assert_close(t[:, 10:], t[:, :10] - 1, atol=1e-4, rtol=0)
    assert error.median() < 0.02  # a guess is off by 0.08
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]


def test_ordinal_loss():
    """Zero where each ramp answers its question, and beyond; non-quasars do not count."""
    z = torch.tensor([np.expm1(0.25)] * 3, dtype=torch.float32)
    right = torch.tensor([[1.0, 1.0, 0.5, -3.0], [7.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    quasar = torch.tensor([True, True, False])
    # Steps at 0, 0.1, 0.2, 0.3 of width 0.1: ln(1 + z) is half way up the third.
    losses = ordinal_loss(right, z, quasar, 0.0, 0.4)
    torch.testing.assert_close(losses, torch.zeros(3), atol=1e-6, rtol=0)
    wrong = ordinal_loss(torch.tensor([[0.0, 1.0, 0.5, 1.0]]), z[:1], quasar[:1], 0.0, 0.4)
    torch.testing.assert_close(wrong, torch.tensor([2.0]), atol=1e-5, rtol=0)
