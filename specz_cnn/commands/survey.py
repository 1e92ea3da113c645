"""The part of ``specz-cnn fit`` that is for many files."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager, nullcontext
from itertools import chain

from specz_cnn.commands import INTERRUPTED, UsageError, existing, existing_paths, status_of

__all__ = ["add_survey_arguments", "is_survey", "listed_paths", "run_survey"]

_log = logging.getLogger(__name__)

_PART_FORMATS = ("parquet", "fits")
_CONNECT = 60  # seconds to wait for the scheduler


def add_survey_arguments(parser):
    """Add the arguments to a parser."""
    group = parser.add_argument_group(
        "many files",
        "With -o DIRECTORY/ the results are written in parts while memory stays the same, and a run that was killed "
        "continues with --resume.",
    )
    group.add_argument("--list", metavar="FILE", help="text file of paths, one a line; - for standard input")
    group.add_argument(
        "--table", metavar="FILE", help="table with columns PLATE, MJD, FIBERID, and perhaps RUN2D"
    )
    group.add_argument("--root", metavar="DIR", help="directory below which the files of --table lie")
    group.add_argument(
        "--resume", action="store_true", help="keep the parts that are finished, and do the rest"
    )
    group.add_argument(
        "--part-format",
        choices=("parquet", "fits"),
        default="parquet",
        help="of parts (default: %(default)s)",
    )
    group.add_argument(
        "--part-rows", type=int, default=20_000, metavar="N", help="rows in a part (default: %(default)s)"
    )
    group.add_argument(
        "--log-json",
        metavar="FILE",
        help="append a line of JSON for each block of spectra, and one with the metrics at the end",
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="work on the Dask cluster of this address or scheduler file"
    )


def is_survey(args):
    """Whether the arguments ask for parts in a directory.

    Raises
    ------
    UsageError
        If they contradict each other.
    """
    output = args.output
    directory = bool(output) and (output.endswith(("/", os.sep)) or os.path.isdir(output))
    if (args.resume or args.scheduler or args.log_json) and not directory:
        raise UsageError("--resume, --scheduler and --log-json need -o DIRECTORY/")
    return directory


def listed_paths(args):
    """Paths named by ``--list`` and ``--table``: an iterator, or None without these options.

    Raises
    ------
    UsageError
        If ``--table`` comes without ``--root``.
    """
    from specz_cnn.io.tables import TABLE_SUFFIXES, is_table, read_table
    from specz_cnn.survey.inputs import read_list, table_paths

    if (args.table is None) != (args.root is None):
        raise UsageError("--table and --root go together")
    sources = []
    for path in (args.list, args.table, args.root):
        if path not in (None, "-"):
            existing(path)
    if args.list is not None:
        sources.append(read_list(sys.stdin if args.list == "-" else args.list))
    if args.table is not None:
        if not is_table(args.table):
            raise UsageError(f"{args.table}: not a table by its name ({' '.join(TABLE_SUFFIXES)})")
        sources.append(table_paths(read_table(args.table), args.root))
    return chain.from_iterable(sources) if sources else None


def run_survey(args, paths=()):
    """Run a survey.

    Parameters
    ----------
    args : `~argparse.Namespace`
        With ``output, model, cross_check, device, mask, measure, convention, batch_size, workers`` and those of `add_survey_arguments`.
    paths : list of str
        Files, patterns and directories.

    Returns
    -------
    int
        Exit status: 0, 3 if some files failed, 1 if all did, 130 after Ctrl-C.

    Raises
    ------
    UsageError
        If nothing is to be fitted.
    """
    from specz_cnn.survey import fit_survey

    if list(paths) == ["-"]:
        args.list, paths = "-", ()
    if "-" in paths or (paths and (args.list or args.table) is not None):
        raise UsageError("give paths, or a list or a table, not several of these")
    listed = listed_paths(args)
    sources = listed or list(paths) or None
    if sources is None and not args.resume:
        raise UsageError("nothing to fit: give paths, --list or --table")
    existing_paths(paths)
    if args.format not in (None, *_PART_FORMATS):
        raise UsageError(f"parts are written as {' or '.join(_PART_FORMATS)}, not {args.format}")
    options = {"batch_size": args.batch_size} if args.batch_size is not None else {}
    try:
        with _client(args.scheduler) as client:
            summary = fit_survey(
                sources,
                args.output,
                model=args.model,
                cross_check=args.cross_check,
                device=args.device,
                mask=args.mask,
                rows_per_part=args.part_rows,
                format=args.part_format,
                input_format=args.format,
                unit=args.unit,
                air=args.air,
                n_workers=args.workers,
                client=client,
                resume=args.resume,
                progress=not args.quiet,
                measure=args.measure,
                convention=args.convention,
                log=args.log_json,
                **options,
            )
    except KeyboardInterrupt:
        _log.warning("interrupted; finished parts are kept, and --resume continues after them")
        return INTERRUPTED
    _log.info("%s", summary)
    return status_of(summary.n_failed, summary.n_rows)


def _client(scheduler):
    if scheduler is None:
        return nullcontext()
    return _connect(scheduler)


@contextmanager
def _connect(scheduler):
    """A client of a Dask scheduler, by address or scheduler file."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("--scheduler needs dask.distributed: pip install 'specz-cnn[dask]'") from None
    where = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
    with Client(**where, timeout=_CONNECT) as client:
        yield client
