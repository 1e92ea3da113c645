"""``specz-cnn download``: fetch SDSS spectra."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from specz_cnn.commands import OK, UsageError, status_of
from specz_cnn.commands.output import check_output, write_output

__all__ = ["add_arguments", "run"]

_EPILOG = """\
examples:
  specz-cnn download 3586-55181-76 4037498043582664704 -d spectra
  specz-cnn download quasars.ecsv -d spectra -o status.ecsv
  specz-cnn search --plate 3586 --class QSO | specz-cnn download - -d spectra
  specz-cnn download quasars.ecsv --url-list download_url.txt

The same command again fetches only what is missing.
"""

# Reasons of failures that are shown.
_SHOWN = 5

_log = logging.getLogger(__name__)


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
        "ids",
        nargs="+",
        metavar="ID",
        help="PLATE-MJD-FIBER, specObjID, file name; or a table or list of them; - for standard input",
    )
    parser.add_argument(
        "-d", "--directory", type=Path, default=Path(), metavar="DIR", help="where to (default: here)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="table of what became of each spectrum"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="fetch files that are there, too, and replace FILE"
    )
    parser.add_argument("--connections", type=int, metavar="N", help="parallel connections")
    parser.add_argument(
        "--retries", type=int, metavar="N", help="further attempts after a failure that may pass"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="without a byte")
    parser.add_argument("--data-release", type=int, metavar="N", help="default: that of the settings, 16")
    lists = parser.add_mutually_exclusive_group()
    lists.add_argument(
        "--url-list", type=Path, metavar="FILE", help="fetch nothing, write a list for wget -i"
    )
    lists.add_argument(
        "--rsync-list", type=Path, metavar="FILE", help="fetch nothing, write a list for rsync"
    )


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, 3 if some files are missing, 1 if all are.
    """
    from specz_cnn.sdss import download_spectra
    from specz_cnn.sdss.id_lists import read_ids

    names = read_ids(args.ids)
    if args.url_list or args.rsync_list:
        return _write_list(names, args)
    if args.connections is not None and args.connections < 1:
        raise UsageError(f"--connections must be at least 1, not {args.connections}")
    if args.output is not None:
        check_output(args.output, ("plate", "mjd", "fiber", "status", "path"), overwrite=args.overwrite)
    table = download_spectra(
        names,
        args.directory,
        overwrite=args.overwrite,
        data_release=args.data_release,
        connections=args.connections,
        retries=args.retries,
        timeout=args.timeout,
        progress=False if args.quiet else None,
    )
    _report(table, args.directory)
    if args.output is not None:
        write_output(table, args.output)
    return status_of(sum(status not in ("ok", "present") for status in table["status"]), len(table))


def _write_list(names, args):
    from specz_cnn.sdss import write_rsync_list, write_url_list

    if args.url_list:
        write_url_list(names, args.url_list, data_release=args.data_release)
        command = f"wget -c -x -nH --cut-dirs=1 -i {args.url_list}"
    else:
        command = write_rsync_list(names, args.rsync_list, data_release=args.data_release)
    _log.info("%d spectra listed; fetch them with\n  %s", len(names), command)
    return OK


def _report(table, directory):
    counts = Counter(table["status"].tolist())
    _log.info(
        "%d fetched, %d there already, %d not in the archive, %d failed; %s",
        *(counts[status] for status in ("ok", "present", "missing", "failed")),
        directory,
    )
    bad = table[table["error"] != ""]
    for number, row in enumerate(bad):
        name = f"{row['plate']}-{row['mjd']}-{row['fiber']}: " if row["plate"] > 0 else ""
        # All of them are in the log file, if there is one.
        _log.log(logging.WARNING if number < _SHOWN else logging.DEBUG, "%s%s", name, row["error"])
    if len(bad) > _SHOWN:
        _log.warning("... and %d more", len(bad) - _SHOWN)
