"""``specz-cnn search``: find SDSS spectra."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from specz_cnn.commands import FAILED, OK, UsageError, existing
from specz_cnn.commands.output import add_overwrite, check_output, write_output

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  specz-cnn search --at "150.12 2.21" --radius 5
  specz-cnn search --positions targets.csv -o found.ecsv
  specz-cnn search --class QSO --instrument BOSS --z 2.8 3.0 -n 100 -o quasars.ecsv
  specz-cnn search --id 4037498043582664704 3586-55181-78
  specz-cnn search --plate 3586 --class QSO --url-list download_url.txt
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
    where = parser.add_argument_group("where (one of them)")
    where.add_argument(
        "--at",
        action="append",
        metavar='"RA DEC"',
        help='position in degrees, or "hh:mm:ss dd:mm:ss"; may be repeated',
    )
    where.add_argument(
        "--positions", type=Path, metavar="TABLE", help="table with columns ra and dec in degrees"
    )
    where.add_argument(
        "--id",
        nargs="+",
        metavar="ID",
        help="PLATE-MJD-FIBER, specObjID, file name; or a table or list of them; - for standard input",
    )
    where.add_argument("--plate", type=int, metavar="N")
    where.add_argument("--mjd", type=int, metavar="N")
    where.add_argument("--fiber", type=int, metavar="N")
    where.add_argument(
        "--radius", type=float, default=2.0, metavar="ARCSEC", help="around positions (default: %(default)s)"
    )
    what = parser.add_argument_group("what")
    what.add_argument("--class", dest="cls", choices=["QSO", "GALAXY", "STAR"], type=str.upper)
    what.add_argument("--z", nargs=2, type=float, metavar=("MIN", "MAX"), help="redshift of the pipeline")
    what.add_argument("--instrument", choices=["SDSS", "BOSS"], type=str.upper)
    what.add_argument("--survey", choices=["sdss", "segue1", "segue2", "boss", "eboss"], type=str.lower)
    what.add_argument("--zwarning", type=int, metavar="BITS", help="warning bits that may be set; 0 for none")
    what.add_argument("--sn-min", type=float, metavar="SN", help="least median signal to noise ratio")
    what.add_argument(
        "--all-spectra",
        action="store_true",
        help="repeated and poor spectra, too, not only the best of each object",
    )
    parser.add_argument("-n", "--max-rows", type=int, metavar="N", help="no more rows than this")
    parser.add_argument("--data-release", type=int, metavar="N", help="default: that of the settings, 16")
    parser.add_argument("--sql", action="store_true", help="print the SQL and ask nothing")
    parser.add_argument(
        "--url-list", type=Path, metavar="FILE", help="write the URLs of the files, for wget -i"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="table (.ecsv, .csv, .fits, .parquet, .vot, .json); - for standard output",
    )
    add_overwrite(parser)


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, or 1 if nothing matches.
    """
    from specz_cnn.sdss import search_spectra, write_url_list

    if args.output is not None:
        check_output(args.output, ("plate", "mjd", "fiber", "run2d", "z_pipe"), overwrite=args.overwrite)
    if args.positions is not None:
        existing(args.positions)
    question = _question(args)
    if args.sql:
        for payload in search_spectra(**question, get_query_payload=True):
            print(payload["cmd"].strip())
        return 0
    table = search_spectra(**question)
    _report(table)
    if args.url_list is not None:
        write_url_list(table, args.url_list, data_release=args.data_release)
        _log.info("%d URLs in %s", len(table), args.url_list)
    _show(table, args.output)
    return OK if len(table) else FAILED


def _question(args):
    """Arguments of `search_spectra`."""
    import astropy.units as u

    places = {"--at": args.at, "--positions": args.positions, "--id": args.id}
    places["--plate, --mjd and --fiber"] = [
        v for v in (args.plate, args.mjd, args.fiber) if v is not None
    ] or None
    given = [name for name, value in places.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give only one of {' and '.join(given)}")
    question = {
        "radius": args.radius * u.arcsec,
        "cls": args.cls,
        "z_range": args.z,
        "instrument": args.instrument,
        "survey": args.survey,
        "zwarning": args.zwarning,
        "sn_min": args.sn_min,
        "science_primary": not args.all_spectra,
        "max_rows": args.max_rows,
        "data_release": args.data_release,
    }
    if args.at or args.positions:
        question["coordinates"] = _coordinates(args)
    elif args.id:
        question["ids"] = _ids(args.id)
    elif given:
        question |= {"plate": args.plate, "mjd": args.mjd, "fiber": args.fiber}
    elif not any(
        value is not None
        for value in (args.cls, args.z, args.instrument, args.survey, args.sn_min, args.zwarning)
    ):
        raise UsageError(
            "nothing to search for: give --at, --id, --plate, or a condition such as --class QSO"
        )
    return question


def _coordinates(args):
    """Positions as one SkyCoord."""
    from astropy.coordinates import SkyCoord

    from specz_cnn.sdss.positions import parse_position, positions_from_table

    try:
        if args.at:
            ra, dec = zip(*(parse_position(text) for text in args.at), strict=True)
        else:
            from specz_cnn.io.tables import read_table

            ra, dec = positions_from_table(read_table(args.positions), str(args.positions))
    except FileNotFoundError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None
    return SkyCoord(list(ra), list(dec), unit="deg")


def _ids(words):
    from specz_cnn.sdss.id_lists import read_ids

    names = read_ids(words)
    for name in names:
        if isinstance(name, Exception):
            raise UsageError(str(name))
    return names


def _report(table):
    """What was found, as messages."""
    release = table.meta["data_release"]
    if not len(table):
        _log.warning("no spectrum of SDSS DR%s matches", release)
        return
    _log.info("spectra of SDSS DR%s that match: %d", release, len(table))
    if table.meta["truncated"]:
        _log.warning("there are more: --max-rows cuts them off")
    unmatched = table.meta["unmatched"]
    if unmatched:
        listed = ", ".join(str(number) for number in unmatched[:10]) + (
            ", ..." if len(unmatched) > 10 else ""
        )
        _log.warning("no match for inputs (counted from 0): %s", listed)


def _show(table, output):
    table = table.copy()
    table.meta = {name: table.meta[name] for name in ("data_release", "skyserver", "sql")}
    if output is not None:
        write_output(table, output)
    elif not sys.stdout.isatty():
        write_output(table, "-")
    elif len(table):
        table.pprint(max_width=-1)
