"""``specz-cnn evaluate``: compare measured redshifts with reference redshifts."""

from __future__ import annotations

import logging
from pathlib import Path

from specz_cnn.commands import UsageError, add_reference_arguments, existing

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  specz-cnn evaluate z.ecsv labels.csv -o evaluation
  specz-cnn evaluate z.fits DR16Q_v4.fits --truth Z_VI --split validation
  specz-cnn evaluate z.ecsv verdicts.csv        (exported by the inspection page)
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
    parser.add_argument("results", type=Path, metavar="RESULTS", help="table written by `specz-cnn fit`")
    parser.add_argument(
        "labels",
        type=Path,
        metavar="LABELS",
        help="reference: a table with z and cls, a DR16Q catalogue, or the verdicts of an inspection",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write the text, tables and figures here"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="print all figures of merit, by redshift and S/N, and the outliers",
    )
    add_reference_arguments(parser)
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="judge only on labels with this value (or one of several, separated by commas); may be repeated",
    )
    parser.add_argument(
        "--each-spectrum",
        action="store_true",
        help="count every spectrum (default: every object counts once)",
    )
    parser.add_argument(
        "--figures",
        choices=["png", "pdf", "svg", "none"],
        default="png",
        help="kind of the figures in DIR (default: %(default)s)",
    )


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
    from specz_cnn.evaluate import evaluate_results, match_results, read_labels

    where = _conditions(args.where)
    for path in (args.results, args.labels):
        existing(path)
    labels = read_labels(args.labels, truth=args.truth, where=where)
    matched = match_results(args.results, labels)
    if unlabelled := matched.meta["results_without_label"]:
        _log.info("%d results have no label", unlabelled)
    if missing := matched.meta["labels_without_result"]:
        _log.info("%d labels have no result", missing)
    half = None if args.split == "all" else args.split
    evaluation = evaluate_results(
        matched, half=half, min_trust=args.min_trust, each_spectrum=args.each_spectrum
    )
    print(evaluation.report() if args.full else evaluation.summary())
    if args.output is not None:
        suffix = "png" if args.figures == "none" else args.figures
        paths = evaluation.write(args.output, figures=args.figures != "none", suffix=suffix)
        _log.info("wrote %d files into %s; begin with summary.txt", len(paths), args.output)
    elif not args.full:
        _log.info("--full says more; -o DIR writes all tables and figures")
    return 0


def _conditions(words):
    """``["survey=BOSS,eBOSS"]`` as a dictionary of column and values."""
    where = {}
    for word in words:
        name, separator, values = word.partition("=")
        if not (name and separator):
            raise UsageError(f"--where takes COLUMN=VALUE, not {word!r}")
        where[name.strip()] = {value.strip() for value in values.split(",")}
    return where
