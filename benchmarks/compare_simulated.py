"""`specz_cnn.evaluate.compare` on simulated spectra like DR16's.

    python benchmarks/compare_simulated.py --data DIRECTORY [-n 20000] [--models rnet-e quasarnet ...] -o comparison

Spectra are drawn on pixels of 138 km/s, of which those of all packaged networks are multiples.  With ``--keep DIRECTORY`` the results
of each system are kept there, and a system that is there is not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from specz_cnn.evaluate import compare, read_labels, run_systems
from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.io.grid import ModelGrid
from specz_cnn.io.tables import read_table, write_table
from specz_cnn.simulate import CLASSES, SimulationConfig
from specz_cnn.training.recipe import build_simulator

SEED = 16_000_000


def run_or_read(spectra, model, keep):
    """Results of one system, by its name: measured, or kept from an earlier run."""
    path = keep and keep / f"{Path(model).name}-{len(spectra)}.ecsv"
    if path and path.exists():
        return {Path(model).stem if Path(model).is_file() else model: read_table(path)}
    results = run_systems(spectra, [model])
    if path:
        for table in results.values():
            keep.mkdir(parents=True, exist_ok=True)
            kept = table["file", "z", "p_qso"]
            kept.meta = {"rate": table.meta["rate"]}
            write_table(kept, path)
    return results


def main():
    """Simulate, measure with each model, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument(
        "--models", nargs="+", default=["rnet", "rnet-pz", "rnet-e", "rnet-e+fit", "pca", "quasarnet"]
    )
    parser.add_argument("--keep", type=Path)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    grid = ModelGrid(start=35440, factor=2, n_pixels=2424)
    config = SimulationConfig(dr16_fraction=1.0)
    simulator = build_simulator(args.data, grid=grid, config=config, device="cpu")
    spectra, columns = [], {name: [] for name in ("z", "cls", "snr")}
    for first in range(0, args.n, 1024):
        made = simulator.draw(min(1024, args.n - first), SEED + first)
        flux, ivar = made.flux.numpy().astype(np.float64), made.ivar.numpy().astype(np.float64)
        for i in range(len(flux)):
            name = f"simulated-{first + i:06d}"
            spectra.append(SpectrumArrays(grid.loglam, flux[i], ivar[i], file=name))
        columns["z"].extend(made.z.tolist())
        columns["snr"].extend(made.snr.tolist())
        columns["cls"].extend(CLASSES[label] for label in made.label.tolist())
    labels = Table({"file": [spectrum.file for spectrum in spectra], **columns})
    labels["trust"] = 3
    systems = {}
    for model in args.models:
        systems |= run_or_read(spectra, model, args.keep)
    comparison = compare(read_labels(labels), systems)
    print(comparison.report())
    comparison.write(args.output)


if __name__ == "__main__":
    main()
