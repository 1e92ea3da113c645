"""What each ingredient of the simulation does, measured.

Two experiments for each ingredient.  *Met*: the packaged ``rnet-e`` on simulated spectra that it matters for, with the
ingredient and without.  *Left out*: ``rnet-e`` trained further for a while with everything, and with everything but the
ingredient; then judged on real spectra, and on simulated ones that the ingredient matters for.  The former says how much
harder it makes a spectrum, the latter what is lost by not knowing of it.

    python benchmarks/ingredients.py met --data DIRECTORY -o results.jsonl
    python benchmarks/ingredients.py left-out --data DIRECTORY -o results.jsonl [--steps 160] [--ingredients bal ...]
    python benchmarks/ingredients.py table -o results.jsonl

What stands in the file of results is not measured again.  The control, ``everything``, is trained with several seeds: by how
much its figures differ is what chance does to a training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from judge import arrays, difference, figures, judge, real_samples, record, records, simulated_sample

from specz_cnn import load_model
from specz_cnn.training.loop import Trainer
from specz_cnn.training.recipe import build_simulator, read_recipe, start_from
from specz_cnn.training.sources import SimulatedSource

_CONTROL = "everything"
_BATCH = 64
_SEED = 424_242  # of simulated spectra to judge by
_USUAL, _MET, _MATTERS = 1024, 800, 400  # numbers of simulated spectra to judge by


@dataclass(frozen=True)
class Ingredient:
    """Settings of the simulation without an ingredient, and those of spectra that it matters for."""

    without: dict
    matters: dict = field(default_factory=dict)
    only_bal: bool = False


def _switch(name, **matters):
    return Ingredient({name: False}, {"class_weights": (1, 0, 0, 0), **matters})


def _class(number, **matters):
    """Ingredients that are no quasars: without this class, judged by it."""
    weights = [0.72, 0.11, 0.13, 0.04]
    weights[number] = 0.0
    only = tuple(float(i == number) for i in range(4))
    return Ingredient({"class_weights": tuple(weights)}, {"class_weights": only, **matters})


_UNIFORM = {"dr16_fraction": 0.0}
INGREDIENTS = {
    "line_shifts": _switch("line_shifts", z_min=1.5),
    "weak_lines": _switch("weak_lines", z_min=1.5),
    "associated_absorption": _switch("associated_absorption", z_min=1.5),
    "bal": replace(_switch("bal", z_min=0.6), only_bal=True),
    "proximity_zones": _switch("proximity_zones", z_min=3.0, **_UNIFORM),
    "damping_wing": _switch("damping_wing", z_min=5.8, **_UNIFORM),
    "other_instruments": Ingredient(
        {"other_instruments": 0.0}, {"class_weights": (1, 0, 0, 0), "other_instruments": 1.0}
    ),
    "damaged": Ingredient({"damaged": 0.0}, {"class_weights": (1, 0, 0, 0), "damaged": 1.0}),
    "telluric_residuals": _switch("telluric_residuals"),
    "host_galaxies": _switch("host_galaxies", z_max=1.15),
    "narrow_lines": _switch("narrow_lines", z_max=1.15),
    "double_peaks": Ingredient(
        {"double_peaks": 0.0}, {"class_weights": (1, 0, 0, 0), "double_peaks": 1.0, "z_max": 0.4, **_UNIFORM}
    ),
    "transients": Ingredient({"transients": 0.0}, {"class_weights": (0, 1, 0, 0), "transients": 1.0}),
    "sky_fibres": Ingredient({"sky_fibres": False}, {"class_weights": (0, 0, 0, 1)}),
    "lines of real quasars": Ingredient(
        {"recipe_weights": (0.0, 0.47, 0.53)}, {"class_weights": (1, 0, 0, 0), "recipe_weights": (1, 0, 0)}
    ),
    "archetypes": Ingredient(
        {"recipe_weights": (0.76, 0.0, 0.24)}, {"class_weights": (1, 0, 0, 0), "recipe_weights": (0, 1, 0)}
    ),
    "parametric lines": Ingredient(
        {"recipe_weights": (0.78, 0.22, 0.0)}, {"class_weights": (1, 0, 0, 0), "recipe_weights": (0, 0, 1)}
    ),
    "extra_lines": _switch("extra_lines"),
    "tilt": _switch("tilt"),
    "reddening": _switch("reddening"),
    "igm": _switch("igm", z_min=2.5),
    "dla": _switch("dla", z_min=2.2),
    "flux_calibration": _switch("flux_calibration"),
    "masked_runs": _switch("masked_runs"),
    "sky_residuals": _switch("sky_residuals"),
    "cosmic_rays": _switch("cosmic_rays"),
    "galaxies": _class(1),
    "stars": _class(2),
    "blank sky": _class(3),
}


def _simulated(simulator, n, config, ingredient, settings=()):
    """Spectra that an ingredient matters for; ``settings`` of the simulation override those."""
    simulator.config = replace(config, **{**ingredient.matters, **dict(settings)})
    # Without the ingredient there are no troughs to choose by.
    sample = simulated_sample(simulator, n, _SEED, only_bal=ingredient.only_bal and not settings)
    simulator.config = config
    return sample


def met(args):
    """The packaged network on spectra with and without each ingredient."""
    recipe, network = read_recipe("rnet-e"), load_model("rnet-e")
    simulator = build_simulator(args.data, grid=recipe.grid, config=recipe.simulation)
    done = {entry["variant"] for entry in records(args.output) if entry["experiment"] == "met"}
    for name in args.ingredients:
        if name in done:
            continue
        ingredient, entry = INGREDIENTS[name], {"experiment": "met", "variant": name}
        # Where a share is the switch the spectra that it matters for have it all, the others not at all.
        for key, settings in (("with", {}), ("without", ingredient.without)):
            if key == "without" and "class_weights" in settings:
                continue  # without this kind of object there is nothing to compare with
            sample = _simulated(simulator, _MET, recipe.simulation, ingredient, settings)
            entry[key] = judge(network, recipe.architecture.preprocess, recipe.model["bins"], sample)
        record(args.output, entry)
        print(name, flush=True)


def left_out(args):
    """Train with everything, and without each ingredient; judge."""
    torch.set_flush_denormal(True)
    base = read_recipe("rnet-e")
    real = real_samples(args.data, base.grid)
    simulator = build_simulator(args.data, grid=base.grid, config=base.simulation)
    usual = simulated_sample(simulator, _USUAL, _SEED)
    done = {(e["variant"], e["seed"]) for e in records(args.output) if e["experiment"] == "left out"}
    runs = [(_CONTROL, seed) for seed in args.seeds] + [(name, args.seeds[0]) for name in args.ingredients]
    for name, seed in runs:
        if (name, seed) in done:
            continue
        without = INGREDIENTS[name].without if name in INGREDIENTS else {}
        network = replace(base, training={"seed": seed}).build_network()
        start_from(network, base.start)
        simulator.config = replace(base.simulation, **without)
        source = SimulatedSource(simulator, _BATCH, seed, base.architecture.preprocess)
        settings = {
            "steps": args.steps,
            "bf16": True,
            "checkpoint_every": 10**9,
            "rate": base.training["rate"],
        }
        started = time.process_time()
        with tempfile.TemporaryDirectory() as directory:
            trainer = Trainer(network, source, directory, bins=base.model["bins"], **settings)
            trainer.run()
        seconds = time.process_time() - started
        network = trainer.averaged.eval().for_inference()
        judged = partial(judge, network, base.architecture.preprocess, base.model["bins"])
        entry = {"experiment": "left out", "variant": name, "seed": seed, "steps": args.steps}
        entry |= {"seconds": round(seconds), "simulated": judged(usual)}
        entry |= {key: judged(sample) for key, sample in real.items()}
        # The control by what matters for each ingredient, which then needs no spectra of its own.
        names = list(INGREDIENTS) if name == _CONTROL else [name]
        entry["matters"] = {
            key: judged(_simulated(simulator, _MATTERS, base.simulation, INGREDIENTS[key])) for key in names
        }
        record(args.output, entry)
        print(name, seed, f"{seconds:.0f} s", flush=True)


def _spread(values):
    return (
        f"{np.mean(values):.4g} (chance {np.std(values, ddof=1):.2g})"
        if len(values) > 1
        else f"{values[0]:.4g}"
    )


_COLUMNS = (
    ("high", "median", 1),
    ("high", "nmad", 1),
    ("high", "pull", 1),
    ("boss", "within_600", 100),
    ("boss", "nmad", 1),
    ("others", "sure", 100),
    ("simulated", "nmad", 1),
    ("matters", "within_3000", 100),
    ("matters", "nmad", 1),
    ("matters", "wrong", 100),
)


def table(args):
    """Print both experiments, differences with their errors from resampling objects."""
    entries = records(args.output)
    print("met: with (without): within 600, within 3000, NMAD, wrong but sure; of others those that are sure")
    for entry in (e for e in entries if e["experiment"] == "met"):
        pair = [figures(arrays(entry[key])) for key in ("with", "without") if key in entry]
        if np.isfinite(pair[0].get("nmad", np.nan)):
            names = ("within_600", 100), ("within_3000", 100), ("nmad", 1), ("wrong", 100)
        else:
            names = (("wrong" if "wrong" in pair[0] else "sure", 100),)
        cells = [
            f"{n} {pair[0][n] * f:.4g}" + "".join(f" ({m[n] * f:.4g})" for m in pair[1:]) for n, f in names
        ]
        print(f"  {entry['variant']:22s} {', '.join(cells)}")
    trained = [e for e in entries if e["experiment"] == "left out"]
    control = [e for e in trained if e["variant"] == _CONTROL]
    if not control:
        return
    print(f"\nleft out: {control[0]['steps']} steps; {_CONTROL}, {len(control)} seeds")
    for key, name, factor in _COLUMNS:
        if key != "matters":
            values = [factor * figures(arrays(e[key]))[name] for e in control]
            print(f"  {key} {name}: {_spread(values)}")
    for entry in (e for e in trained if e["variant"] != _CONTROL):
        variant, cells = entry["variant"], []
        for key, name, factor in _COLUMNS:
            mine = arrays(entry[key][variant] if key == "matters" else entry[key])
            theirs = [arrays(e[key][variant] if key == "matters" else e[key]) for e in control]
            if name not in figures(mine):
                continue
            pairs = [difference(mine, other, name) for other in theirs]
            values = factor * np.array([d for d, _ in pairs])
            if np.isfinite(values).all():
                error = np.hypot(factor * np.mean([e for _, e in pairs]), np.std(values))
                cells.append(f"{key} {name} {values.mean():+.3g} +- {error:.2g}")
        print(f"  {variant:22s} {', '.join(cells)}")


def main():
    """Run one of the experiments, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("met", "left-out", "table"))
    parser.add_argument("--data", help="directory with templates, statistics and real spectra")
    parser.add_argument("-o", "--output", required=True, help="JSON lines, to which results are added")
    parser.add_argument("--steps", type=int, default=160, help="of 64 spectra")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--ingredients", nargs="+", default=list(INGREDIENTS), choices=list(INGREDIENTS))
    args = parser.parse_args()
    {"met": met, "left-out": left_out, "table": table}[args.what](args)


if __name__ == "__main__":
    main()
