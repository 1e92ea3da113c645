"""QuasarNET at its published rule, on simulated spectra of SDSS: purity, completeness, line confusion, dispersion.

    python benchmarks/quasarnet.py --data DIRECTORY [--model quasarnet] [-n 20000] [--snr 2]

A quasar is what has two lines above the threshold; line confusion is a redshift of such a quasar that is off by more than
6000 km/s; the dispersion is the standard deviation of the other velocity differences.  With ``--damaged`` as many spectra as in training
are damaged, cut, or those of other instruments, which no published figure holds.  Then the box effect: the median difference between
where a line is and where it is found, by its place in its box.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from specz_cnn import load_model
from specz_cnn.evaluate.metrics import binomial_interval
from specz_cnn.models.quasarnet import LINES, line_targets
from specz_cnn.simulate import SimulationConfig
from specz_cnn.training.recipe import build_simulator
from specz_cnn.velocity import SPEED_OF_LIGHT, nmad

SEED = 31_415_926


def percent(k, n):
    """A fraction with its interval."""
    low, high = binomial_interval(k, n)
    return f"{100 * k / max(n, 1):.2f} % ({100 * low:.2f} to {100 * high:.2f}) of {n}"


def in_boxes(output, made, network):
    """Place of each line in its box, 0 to 1, and how far in km/s the network puts it from there; shape (batch, n_lines)."""
    n_boxes = network.n_boxes
    full, offset = line_targets(made.z, made.label == 0, n_boxes, is_bal=torch.zeros_like(made.z))
    best = output[..., :n_boxes].argmax(2)
    found = best + output[..., n_boxes:].gather(2, best[..., None])[..., 0]
    miss = found - (full.argmax(2) + offset)
    near = full.any(2) & (miss.abs() < 0.5)
    width = network.n_pixels / n_boxes * 1e-3 * np.log(10) * SPEED_OF_LIGHT
    return torch.where(near, offset, torch.nan), miss * width


def main():
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="quasarnet")
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("--snr", type=float, default=2.0, help="least S/N per SDSS pixel")
    parser.add_argument(
        "--damaged", action="store_true", help="among them damaged spectra, and other instruments'"
    )
    args = parser.parse_args()
    network = load_model(args.model)
    config = SimulationConfig(
        dr16_fraction=1.0, snr_min=args.snr, z_max=5.0, class_weights=(0.8, 0.1, 0.1, 0.0)
    )
    if not args.damaged:
        config = replace(config, damaged=0.0, other_instruments=0.0)
    simulator = build_simulator(args.data, grid=network.grid, config=config, device="cpu")
    z, truth, quasar, second = [], [], [], []
    places, misses = [], []
    for first in range(0, args.n, 1024):
        made = simulator.draw(min(1024, args.n - first), SEED + first)
        with torch.inference_mode():
            output = network(network.preprocess(made.flux, made.ivar))
            confidence, lines = network.read_lines(output)
        place, miss = in_boxes(output, made, network)
        places.append(place)
        misses.append(miss)
        confidence, lines = confidence[:, : len(LINES) - 1], lines[:, : len(LINES) - 1]
        best = confidence.argmax(1, keepdim=True)
        z.append(lines.gather(1, best)[:, 0])
        second.append(confidence.sort(1, descending=True).values[:, network.n_lines_needed - 1])
        truth.append(made.z.double())
        quasar.append(made.label == 0)
    z, truth, quasar, second = (torch.cat(part).numpy() for part in (z, truth, quasar, second))
    dv = SPEED_OF_LIGHT * (z - truth) / (1 + truth)
    print(f"{args.n} spectra, S/N > {args.snr:g}, {quasar.sum()} quasars, z < 5 distributed as in DR16")
    for threshold in (0.4, 0.5, 0.7, 0.9):
        called = second > threshold
        good = called & quasar
        print(f"two lines above {threshold}:")
        print(
            f"  completeness {percent(good.sum(), quasar.sum())}, purity {percent(good.sum(), called.sum())}"
        )
        print(f"  line confusion {percent((good & (np.abs(dv) > 6000)).sum(), good.sum())}")
        core = dv[good & (np.abs(dv) < 6000)]
        print(f"  dispersion {core.std():.0f} km/s, NMAD {nmad(core):.0f}, median {np.median(core):.0f}")
    print("median km/s by the place in the box, 0 to 1 in steps of 0.1:")
    places, misses = torch.cat(places).numpy(), torch.cat(misses).numpy()
    for i, line in enumerate(list(LINES)[:4]):
        parts = [misses[np.abs(places[:, i] - middle) < 0.05, i] for middle in np.arange(0.05, 1, 0.1)]
        print(f"  {line:<5}", *(f"{np.median(part):6.0f}" for part in parts), f"  of {sum(map(len, parts))}")


if __name__ == "__main__":
    main()
