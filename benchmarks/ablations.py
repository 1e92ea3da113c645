"""What each choice of RNet-E bought, and what more examples buy: short trainings that differ in one thing.

Every variant is trained from random weights for the same number of steps on the same stream of simulated examples, and judged
on a simulated sample and on real spectra (`judge.py`).  ``base`` is trained for each of the numbers of steps, every time
with the learning rate of a whole training, which gives the curve of accuracy against number of examples.

    python benchmarks/ablations.py --data DIRECTORY -o results.jsonl [--variants templates-1 ...] [--steps 250 | 125 250 ...]
    python benchmarks/ablations.py --table -o results.jsonl

What stands in the file of results is not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from judge import arrays, difference, figures, judge, real_samples, record, records, simulated_sample
from networks import direct_flops

from specz_cnn import load_model
from specz_cnn.models.preprocess import standardise
from specz_cnn.training.loop import Trainer
from specz_cnn.training.recipe import build_simulator, read_recipe
from specz_cnn.training.sources import Examples, SimulatedSource

_BATCH = 64
_RATE = 2e-3  # from random weights; the recipe's is for those that go on
_SEED = 424_242  # of simulated spectra to judge by
_PACKAGED = "rnet-e as packaged"

# What the variants differ from: RNet-E up to rnet-e-4.
_BASE = {"channels": [24, 32, 16], "kernels": [21, 11, 9], "stride": 1}
#: Arguments of the network, and other settings.
VARIANTS = {
    "base": {},
    "templates-1": {"n_templates": 1},
    "templates-4": {"n_templates": 4},
    "templates-16": {"n_templates": 16},
    "narrow": {"channels": [12, 16, 8]},
    "wide": {"channels": [48, 64, 32]},
    "shallow": {"channels": [24, 16], "kernels": [21, 9]},
    "deep": {"channels": [24, 32, 32, 16], "kernels": [21, 11, 11, 9]},
    "short": {"kernels": [11, 7, 5]},
    "long": {"kernels": [41, 21, 9]},
    "stride": {"channels": [32, 32, 16], "kernels": [21, 7, 5], "stride": 2},
    "no-ivar": {},
    "coarse-bins": {"n_pixels": 606, "n_bins": 1136, "kernels": [11, 7, 5]},
}


class _Remembered:
    """A source that makes each batch once, for all variants."""

    def __init__(self, source):
        self._source, self._kept = source, {}

    def batch(self, step):
        if step not in self._kept:
            self._kept[step] = self._source.batch(step)
        return self._kept[step]


def _flux_only(flux, ivar):
    return standardise(flux, ivar) * torch.tensor([1.0, 0.0]).view(1, 2, 1)


def _recipe(name):
    """The recipe of a variant, from random weights."""
    recipe = read_recipe("rnet-e")
    model = {**recipe.model, "arguments": {**recipe.model["arguments"], **_BASE, **VARIANTS[name]}}
    if name == "coarse-bins":
        model["grid"] = {**model["grid"], "factor": 8, "n_pixels": 606}
        model["bins"] = {"n": 1136, "step": 2 * recipe.model["bins"]["step"]}
    return replace(recipe, model=model, start={})


@cache
def _material(data, coarse, flux_only, seed):
    """Source of examples, their preprocessing, and samples to judge by; the same for all variants of a kind."""
    recipe, preprocess = (
        _recipe("coarse-bins" if coarse else "base"),
        _flux_only if flux_only else standardise,
    )
    simulator = build_simulator(data, grid=recipe.grid, config=recipe.simulation)
    source = _Remembered(SimulatedSource(simulator, _BATCH, seed, preprocess))
    samples = {"simulated": simulated_sample(simulator, 1024, _SEED), **real_samples(data, recipe.grid)}
    return source, preprocess, samples


def _examples(sample, preprocess):
    x = preprocess(torch.from_numpy(sample.flux), torch.from_numpy(sample.ivar))
    quasar = torch.from_numpy(np.isfinite(sample.z))
    return Examples(x, torch.from_numpy(np.nan_to_num(sample.z)), quasar)


def train(name, steps, args):
    """Train one variant and judge it."""
    recipe = _recipe(name)
    recipe = replace(recipe, training={"seed": args.seed})
    source, preprocess, samples = _material(args.data, name == "coarse-bins", name == "no-ivar", args.seed)
    for step in range(steps):
        source.batch(step)  # made before the clock starts
    started = time.process_time()
    with tempfile.TemporaryDirectory() as directory:
        network, bins = recipe.build_network(), recipe.model["bins"]
        settings = {"steps": steps, "rate": _RATE, "bf16": args.bf16, "checkpoint_every": 10**9}
        trainer = Trainer(network, source, directory, bins=bins, **settings)
        trainer.run()
    entry = {"variant": name, "steps": steps, "seed": args.seed, "bf16": args.bf16}
    entry["seconds"] = round(time.process_time() - started, 1)
    network = trainer.averaged.eval()
    with torch.inference_mode():
        entry["loss"] = trainer.objective.loss(network, _examples(samples["simulated"], preprocess)).item()
        entry["mflop"] = direct_flops(network) / 1e6 if name != "coarse-bins" else None
    entry["parameters"] = sum(p.numel() for p in network.parameters())
    network = network.for_inference()
    return entry | {key: judge(network, preprocess, bins, sample) for key, sample in samples.items()}


def packaged(args):
    """The packaged weights judged in the same way, for comparison."""
    network = load_model("rnet-e")
    _, preprocess, samples = _material(args.data, False, False, args.seed)
    judged = partial(judge, network, preprocess, _recipe("base").model["bins"])
    return {"variant": _PACKAGED} | {key: judged(sample) for key, sample in samples.items()}


_COLUMNS = (
    ("simulated", "within_600", 100),
    ("simulated", "within_3000", 100),
    ("simulated", "nmad", 1),
    ("boss", "within_600", 100),
    ("boss", "nmad", 1),
    ("high", "within_3000", 100),
    ("high", "nmad", 1),
    ("others", "sure", 100),
)


def table(args):
    """Print a row for each training, and differences from the base of as many steps with their errors."""
    entries = records(args.output)
    heading = [f"{key} {name}" for key, name, _ in _COLUMNS]
    print("variant, steps, seed, half precision: loss, Mflop, parameters, seconds; " + ", ".join(heading))
    bases = {e["steps"]: e for e in entries if e["variant"] == "base" and e["bf16"]}
    for entry in entries:
        cells = [f"{f * figures(arrays(entry[key]))[name]:.4g}" for key, name, f in _COLUMNS]
        about = [
            entry.get(name) for name in ("steps", "seed", "bf16", "loss", "mflop", "parameters", "seconds")
        ]
        print(
            f"{entry['variant']:18s}",
            *(f"{a:.4g}" if isinstance(a, float) else a for a in about),
            ":",
            *cells,
        )
        base = bases.get(entry.get("steps"))
        if base is None or base is entry or entry["variant"] == "coarse-bins":
            continue
        pairs = [difference(arrays(entry[key]), arrays(base[key]), name) for key, name, _ in _COLUMNS]
        print(
            "   against base    ",
            *(f"{f * d:+.3g}+-{f * e:.2g}" for (d, e), (_, _, f) in zip(pairs, _COLUMNS, strict=True)),
        )


def main():
    """Train the variants, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="directory with templates, statistics and real spectra")
    parser.add_argument("-o", "--output", required=True, help="JSON lines, to which results are added")
    parser.add_argument("--steps", type=int, nargs="+", default=[250], help="of 64 spectra")
    parser.add_argument("--seed", type=int, default=7, help="of examples and first weights")
    parser.add_argument("--single", dest="bf16", action="store_false", help="no half precision")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=[*VARIANTS, _PACKAGED])
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        table(args)
        return
    torch.set_flush_denormal(True)
    keys = "variant", "steps", "seed", "bf16"
    done = [tuple(entry.get(key) for key in keys) for entry in records(args.output)]
    for name in args.variants:
        for steps in args.steps:
            if name == _PACKAGED:
                record(args.output, packaged(args))
            elif (name, steps, args.seed, args.bf16) not in done:
                record(args.output, train(name, steps, args))
                print(name, steps, flush=True)


if __name__ == "__main__":
    main()
