"""``specz-cnn inspect``: a web page for the visual inspection of results, and the merging of verdicts."""

from __future__ import annotations

import logging
from itertools import tee
from pathlib import Path

from specz_cnn.commands import UsageError, existing, status_of
from specz_cnn.io.names import spec_name

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

# Processes take some seconds to start, a row a few milliseconds.
_MANY = 2000

_EPILOG = """\
examples:
  specz-cnn inspect z.ecsv spectra/ -o inspect.html    open the page in any browser, press ? for the keys
  specz-cnn evaluate z.ecsv verdicts.csv               compare with the verdicts exported from the page
  specz-cnn inspect --merge ann.csv bob.csv -o both.csv

The page is one file that needs no network. Verdicts stay in the browser until they are exported as CSV. Merging reads and
writes tables of every format, and lists on standard output what the inspectors differ in.
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
    parser.add_argument("table", nargs="?", type=Path, metavar="TABLE", help="results of `specz-cnn fit`")
    parser.add_argument(
        "spectra",
        nargs="?",
        type=Path,
        metavar="SPECTRA_DIR",
        help="directory of the spectra (default: the paths in the table)",
    )
    parser.add_argument("--merge", nargs="+", type=Path, metavar="TABLE", help="merge verdicts instead")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="page (.html), or merged verdicts (.csv, .ecsv, .fits ...)",
    )
    parser.add_argument("--title", help="heading of the page (default: name of the table)")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="network whose p(z) the page shows (default: the one that made the table; none: no p(z))",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1000.0,
        metavar="KMS",
        help="merging: largest difference of redshifts that agree (default: %(default)g km/s)",
    )

    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"processes, of one core each; 0 for none (default: all cores for {_MANY} rows and more)",
    )


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, 3 if a spectrum is missing, 1 if all are.

    Raises
    ------
    UsageError
        If the arguments do not fit together.
    """
    if args.merge:
        if args.table is not None:
            raise UsageError("give either a table or --merge, not both")
        return _merge(args)
    if args.table is None:
        raise UsageError("name a table of results, or the verdicts to --merge")
    return _make_page(args)


def _merge(args):
    from specz_cnn.io.tables import table_format

    for path in args.merge:
        existing(path)
    for path in (*args.merge, args.output):
        try:
            table_format(path)
        except ValueError as error:
            raise UsageError(str(error)) from None
    from specz_cnn.report import disagreements, merge_verdicts, read_verdicts, write_verdicts

    if args.output.resolve() in (path.resolve() for path in args.merge):
        raise UsageError(f"{args.output} would replace one of the files that are merged")
    tables = [_signed(read_verdicts(path), path.stem) for path in args.merge]
    merged = merge_verdicts(tables, tolerance=args.tolerance)
    write_verdicts(merged, args.output)
    open_questions = disagreements(merged)
    for row in open_questions:
        name = row["file"] or spec_name(row["plate"], row["mjd"], row["fiber"])
        print(f"{name}: {row['disagreement']}")
    _say(f"{len(merged)} spectra, {len(open_questions)} with disagreement; wrote {args.output}")
    return 0


def _signed(verdicts, name):
    """Verdicts without an inspector's name get that of their file: two nameless people are not one."""
    names = [str(value) or name for value in verdicts["inspector"]]
    verdicts["inspector"] = names
    return verdicts


def _make_page(args):
    existing(args.table)
    if args.spectra is not None:
        existing(args.spectra)
    from specz_cnn.io.tables import read_table
    from specz_cnn.progress import progress_bar
    from specz_cnn.report import write_inspection_page
    from specz_cnn.report.finder import SpectrumFinder, read_rows

    table = read_table(args.table)
    if len(table) == 0 or "z" not in table.colnames:
        raise ValueError(f"{args.table} has no column 'z' or no row")
    problems = []
    fitter = _fitter(args.model, table.meta)
    bar = progress_bar(len(table), show=False if args.quiet else None)
    rows = read_rows(
        table,
        SpectrumFinder(args.spectra),
        fitter=fitter,
        model=_model(args.model, table.meta),
        n_workers=_processes(args.workers, len(table)),
        on_error=lambda row, message: problems.append(f"row {row + 1}: {message}"),
        progress=lambda done: bar.update(done - bar.n),
    )
    # A branch that nobody reads would keep every spectrum.
    spectra, pdfs = (rows, None) if fitter is None else tee(rows)
    with bar:
        n_spectra = write_inspection_page(
            args.output,
            table,
            (spectrum for spectrum, _ in spectra),
            pdfs=None if fitter is None else (pdf for _, pdf in pdfs),
            pdf_step=None if fitter is None else fitter.info.bins["step"],
            title=args.title or args.table.stem,
        )
    for problem in problems[:20]:
        _say(problem)
    if len(problems) > 20:
        _say(f"and {len(problems) - 20} more")
    size = args.output.stat().st_size / 1e6
    _say(f"wrote {args.output}: {n_spectra} of {len(table)} spectra, {size:.1f} MB")
    return status_of(len(problems), len(table))


def _model(name, meta):
    """The network that is asked for, that which made the table, or the default."""
    from specz_cnn.config import conf

    return name or {key.lower(): value for key, value in meta.items()}.get("model") or conf.default_model


def _processes(workers, n_rows):
    """All cores where there is enough to do for them to start."""
    from specz_cnn.parallel import number_of_workers

    return 0 if workers is None and n_rows < _MANY else number_of_workers(workers)


def _fitter(name, meta):
    """The network that gives p(z), or None: a page without p(z) is better than none."""
    from specz_cnn.report.finder import network_alone

    if name == "none":
        return None
    try:
        # The network alone: what is shown is which redshifts it thinks possible, on the bins of its output.
        fitter = network_alone(_model(name, meta))
    except (OSError, ValueError, RuntimeError) as error:
        if name:
            raise
        _say(f"without p(z): {error}")
        return None
    # Of a network that returns one number, p(z) would show nothing that the error does not.
    return None if fitter.info.bins is None else fitter


def _say(text):
    _log.info("%s", text)
