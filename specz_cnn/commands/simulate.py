"""``specz-cnn simulate``: labelled spectra as spec-lite files or training shards."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from specz_cnn.commands import existing, hide_progress

_log = logging.getLogger(__name__)


def add_arguments(parser):
    """Add the arguments of the command."""
    parser.add_argument(
        "--data",
        help="directory with templates/, statistics/ and the noise file (default: the compact bank of the package)",
    )
    parser.add_argument("-o", "--output", required=True, help="directory to write to")
    parser.add_argument("-n", type=int, default=100, help="number of spectra (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default: %(default)s)")
    parser.add_argument(
        "--format", choices=("spec-lite", "shards"), default="spec-lite", help="default: %(default)s"
    )
    parser.add_argument("--z-min", type=float, default=0.0)
    parser.add_argument("--z-max", type=float, default=7.1)
    parser.add_argument(
        "--dr16-fraction",
        type=float,
        default=0.55,
        help="share of quasars with DR16's redshifts, the rest uniform in z",
    )
    parser.add_argument(
        "--frame",
        choices=("sdss", "systemic"),
        default="sdss",
        help="redshifts as SDSS's pipeline gives them, or of the maximum of Mg II (default: %(default)s)",
    )
    parser.add_argument("--quasars-only", action="store_true")
    parser.add_argument(
        "--grid-of",
        metavar="RECIPE",
        help="shards on the grid of this recipe's network, for its calibration (default: rnet-e)",
    )
    parser.add_argument("--device", default="cpu")


def run(args):
    """Simulate and write."""
    from specz_cnn.io.grid import ModelGrid
    from specz_cnn.simulate import SimulationConfig
    from specz_cnn.training.recipe import build_simulator, read_recipe

    if args.data:
        existing(args.data)
    settings = {"z_min": args.z_min, "z_max": args.z_max, "dr16_fraction": args.dr16_fraction}
    settings["frame"] = args.frame
    if args.quasars_only:
        settings["class_weights"] = (1.0, 0.0, 0.0, 0.0)
    files = args.format == "spec-lite"
    grid = ModelGrid(start=35490, factor=1, n_pixels=4650) if files else ModelGrid()
    if args.grid_of and not files:
        grid = read_recipe(args.grid_of).grid
    config = SimulationConfig.from_dict(settings)
    simulator = build_simulator(args.data, grid=grid, config=config, device=args.device)
    write = _write_files if files else _write_shards
    write(simulator, args)
    _log.info("%d simulated spectra in %s", args.n, args.output)
    return 0


def _batches(simulator, args, size=1024):
    from tqdm import tqdm

    with tqdm(total=args.n, unit="spectrum", disable=hide_progress(args), file=sys.stderr) as bar:
        for number, first in enumerate(range(0, args.n, size)):
            batch = simulator.draw(min(size, args.n - first), args.seed * 1_000_003 + number)
            yield first, batch
            bar.update(len(batch.z))


def _write_files(simulator, args):
    from astropy.table import Table

    from specz_cnn.io.tables import write_table
    from specz_cnn.simulate.files import write_simulated

    directory = Path(args.output)
    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    for first, batch in _batches(simulator, args):
        for i in range(len(batch.z)):
            rows.append(write_simulated(directory, batch, i, simulator.grid, number=first + i))
    write_table(Table(rows=rows), directory / "labels.ecsv")


def _write_shards(simulator, args):
    from specz_cnn.training.shards import ShardWriter

    writer = ShardWriter(args.output, simulator.grid)
    for first, batch in _batches(simulator, args):
        flux, ivar = batch.flux.cpu().numpy(), batch.ivar.cpu().numpy()
        for i in range(len(batch.z)):
            label = (0, 0, first + i, float(batch.z[i]), int(batch.label[i]) == 0, float(batch.snr[i]), 1.0)
            writer.add(flux[i], ivar[i], label)
    writer.flush()
