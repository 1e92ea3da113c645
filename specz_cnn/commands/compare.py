"""``specz-cnn compare``: several systems on the same spectra."""

from __future__ import annotations

import logging
from pathlib import Path

from specz_cnn.commands import UsageError, add_reference_arguments, existing, existing_paths

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  specz-cnn compare spectra/ --labels labels.csv --models rnet-e rnet-e+fit pca quasarnet -o comparison
  specz-cnn compare spectra/ --labels DR16Q_v4.fits --truth Z_VI --models rnet-e --columns z_qn z_pca -o comparison
  specz-cnn compare --labels labels.csv --tables ours=z.ecsv redrock=redrock.fits QuasarNP=qnp.csv:z_qn -o comparison
"""


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    from argparse import RawDescriptionHelpFormatter

    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "spectra",
        nargs="*",
        metavar="SPECTRA",
        help="files or directories; only those with a label are measured",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="LABELS",
        help="reference: a table with z and cls, a DR16Q catalogue, or the verdicts of an inspection",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="packaged models or weights files to run, each alone; MODEL+fit adds the fit of eigenspectra",
    )
    parser.add_argument(
        "--tables",
        nargs="+",
        default=[],
        metavar="NAME=FILE[:COLUMN]",
        help="results of other programs: a table with plate, mjd, fiber or file, and the redshift (default: z)",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="redshift columns of LABELS: z_qn, z_pca ...",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write the text, tables, figures and a page here"
    )
    add_reference_arguments(parser)
    parser.add_argument(
        "--figures", choices=["png", "pdf", "svg"], default="png", help="kind of the figures (default: png)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if there is one)")


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0.
    """
    existing(args.labels)
    existing_paths(args.spectra)
    if not (args.models or args.tables or args.columns):
        raise UsageError("nothing to compare: give --models, --tables or --columns")
    if bool(args.models) != bool(args.spectra):
        raise UsageError("--models needs spectra, and spectra need --models")
    from specz_cnn.evaluate import compare, match_results, read_labels, run_systems

    labels = read_labels(args.labels, truth=args.truth)
    systems = {}
    if args.models:
        from astropy.table import Table

        from specz_cnn.survey.inputs import iter_paths

        paths = list(iter_paths(args.spectra))
        known = match_results(Table({"file": paths, "z": [0.0] * len(paths)}), labels)
        keep = set(known["file"])
        paths = [path for path in paths if Path(path).name in keep]
        _log.info("%s spectra with a label", len(paths))
        systems |= run_systems(paths, args.models, device=args.device)
    systems |= dict(_table(word) for word in args.tables)
    half = None if args.split == "all" else args.split
    comparison = compare(labels, systems, columns=args.columns, half=half, min_trust=args.min_trust)
    print(comparison.report())
    if args.output is not None:
        written = comparison.write(args.output, suffix=args.figures)
        _log.info("wrote %s files into %s", len(written), args.output)
    return 0


def _table(word):
    """Name and table of ``NAME=FILE[:COLUMN]``."""
    from specz_cnn.io.tables import read_table

    name, separator, file = word.partition("=")
    if not (separator and name and file):
        raise UsageError(f"--tables takes NAME=FILE[:COLUMN], not {word!r}")
    column = "z"
    if not Path(file).exists() and ":" in file:
        file, _, column = file.rpartition(":")
    if not Path(file).exists():
        raise UsageError(f"no such file or directory: {word.partition('=')[2]}")
    table = read_table(file)
    names = {key.lower(): key for key in table.colnames}
    if column.lower() not in names:
        raise UsageError(f"{file} has no column {column!r}; it has {', '.join(table.colnames)}")
    if column.lower() != "z":
        table["z"] = table[names[column.lower()]]
    return name, table
