"""``specz-cnn fit``: redshifts of spectrum files."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from specz_cnn.commands import UsageError, check_output
from specz_cnn.commands.survey import add_survey_arguments, is_survey, listed_paths, run_survey

__all__ = ["add_arguments", "run"]

_EPILOG = """\
examples:
  specz-cnn fit --example
  specz-cnn fit spec-3586-55181-0076.fits
  specz-cnn fit spectra/ more/spec-*.fits -o z.ecsv
  find /data -name 'spec-*.fits' | specz-cnn fit - -o z.fits
  specz-cnn fit coadd-main-dark-9968.fits spectrum.csv --air -o z.ecsv
  specz-cnn fit --sdss 3586-55181-76 4037498043582664704
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
        "paths",
        nargs="*",
        metavar="PATH",
        help="file of any format, address, directory or pattern; - reads a list from standard input",
    )
    parser.add_argument(
        "--example", action="store_true", help="fit the packaged example, a simulated spectrum"
    )
    parser.add_argument(
        "--sdss", nargs="+", metavar="ID", default=[], help="download and fit: PLATE-MJD-FIBER or specObjID"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="table to write: .ecsv .fits .csv .parquet .vot; a directory: parts",
    )
    parser.add_argument("--model", help="packaged model or weights file (default: the setting default_model)")
    parser.add_argument(
        "--cross-check",
        metavar="MODEL",
        default="default",
        help="model that gives the second opinion (default: the setting default_cross_check)",
    )
    parser.add_argument(
        "--no-cross-check", dest="cross_check", action="store_const", const=None, help="no second opinion"
    )
    parser.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help="the network's own redshift, without the fit of eigenspectra about it",
    )
    parser.add_argument(
        "--convention",
        choices=("pipeline", "catalogue"),
        default="pipeline",
        help="whose redshift z is at z > 1.8: from all wavelengths, or without the forest (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if there is one)")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="spectra that go through a network together"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that read files (default: none, or chosen for a survey)",
    )
    files = parser.add_argument_group("files of other origin", "what a file does not say itself")
    files.add_argument(
        "--format",
        metavar="NAME",
        help="format, where the content does not tell (a wrong name lists them all)",
    )
    files.add_argument(
        "--unit",
        action="append",
        metavar="UNIT",
        help="unit of the wavelengths (nm, um, loglam) or of the flux (Jy); may be repeated",
    )
    medium = files.add_mutually_exclusive_group()
    medium.add_argument("--air", action="store_true", default=None, help="wavelengths are those in air")
    medium.add_argument(
        "--vacuum", dest="air", action="store_false", help="wavelengths are those in vacuum, whatever is said"
    )
    add_survey_arguments(parser)


def run(args):
    """Fit and write or show the table.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, or 1 if some spectra could not be measured.
    """
    if is_survey(args):
        if args.example or args.sdss:
            raise UsageError("--example and --sdss write one table, not a directory of parts")
        return run_survey(args, args.paths)
    if args.output:
        check_output(args.output)
    paths = _paths(args)

    from specz_cnn.redshift.fit import fit_redshifts_cnn
    from specz_cnn.results.tables import write_table

    options = {"batch_size": args.batch_size} if args.batch_size is not None else {}
    table = fit_redshifts_cnn(
        paths,
        model=args.model,
        cross_check=args.cross_check,
        device=args.device,
        n_workers=args.workers or 0,
        measure=args.measure,
        convention=args.convention,
        format=args.format,
        unit=args.unit,
        air=args.air,
        **options,
    )
    written = True
    if args.output:
        try:
            write_table(table, args.output)
            print(f"{len(table)} rows in {args.output}", file=sys.stderr)
        except OSError as error:
            written = False
            _rescue(table, args.output, error)
    else:
        _show(table)
    failed = sum(error != "" for error in table["error"])
    if failed:
        print(
            f"{failed} of {len(table)} spectra could not be measured; see the column error", file=sys.stderr
        )
    return 1 if failed or not written else 0


def _rescue(table, output, error):
    """The output cannot be written after all (the disk is full, for example): save the work elsewhere."""
    from specz_cnn.results.tables import write_table

    print(f"cannot write {output}: {error}", file=sys.stderr)
    for directory in (os.getcwd(), tempfile.gettempdir()):
        path = Path(directory) / f"rescued-{os.getpid()}-{Path(output).name}"
        try:
            write_table(table, path)
        except OSError:
            continue
        print(f"{len(table)} rows in {path} instead", file=sys.stderr)
        return
    print(f"{len(table)} rows on standard output instead", file=sys.stderr)
    table.write(sys.stdout, format="ascii.ecsv")


def _paths(args):
    """All paths the arguments stand for, as a list."""
    from specz_cnn.io.formats.remote import is_address
    from specz_cnn.survey.inputs import iter_paths, read_list

    paths = []
    for path in args.paths:
        if path == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed")
            paths += read_list(sys.stdin)
        elif os.path.isfile(path) or os.path.isabs(path):
            paths += [path] if os.path.isfile(path) else iter_paths([path])
        else:
            # Relative paths stay relative in the table.
            found = iter_paths([path])
            paths += (name if is_address(name) else os.path.relpath(name) for name in found)
    paths += listed_paths(args) or []
    if args.example:
        from specz_cnn.example import example_path

        print(
            "The example is a simulated spectrum; its true redshift is in its header (Z_TRUE).",
            file=sys.stderr,
        )
        paths.append(example_path())
    if args.sdss:
        paths += _download(args.sdss)
    if not paths:
        raise UsageError("nothing to fit: give paths, --sdss or --example")
    return paths


def _download(words):
    """Paths of SDSS spectra, downloaded into the cache unless they are there."""
    from specz_cnn.config import cache_directory
    from specz_cnn.sdss import SpecID, download_spectra

    try:
        ids = [SpecID.parse(word) for word in words]
    except ValueError as error:
        raise UsageError(str(error)) from None
    table = download_spectra(ids, cache_directory())
    for row in table:
        if row["error"]:
            print(f"{row['plate']}-{row['mjd']}-{row['fiber']}: {row['error']}", file=sys.stderr)
    # A spectrum that could not be fetched becomes a row with an error, like any unreadable file.
    return [str(row["path"]) for row in table]


_SHOWN = ("file", "z", "z_err", "confidence", "p_qso", "z_check", "snr")


def _show(table):
    """Print the table for reading: the main columns, flags by name."""
    from specz_cnn.results.flags import decode_flags

    several = len({*table["file"]}) < len(table)  # spectra in one file
    shown = table[[*_SHOWN[:1], *(["id"] if several else []), *_SHOWN[1:]]]
    shown["file"] = [os.path.basename(path) for path in table["file"]]
    shown["flags"] = [" ".join(decode_flags(int(value))) or "-" for value in table["flags"]]
    print("\n".join(shown.pformat(max_lines=-1, max_width=-1, show_unit=False)))
    for path, error in zip(table["file"], table["error"], strict=True):
        if error:
            print(f"{path}: {error}", file=sys.stderr)
