"""``specz-cnn fit``: redshifts of spectrum files."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from specz_cnn.commands import FAILED, UsageError, existing_paths, status_of
from specz_cnn.commands.output import STDOUT_FORMATS, add_overwrite, check_output, write_output
from specz_cnn.commands.survey import add_survey_arguments, is_survey, listed_paths, run_survey

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

# Files that are worth the seconds that further processes need to start.
_MANY = 500
# Columns by which a table of results is known.
_COLUMNS = ("z", "z_err", "confidence", "p_qso", "flags")

_EPILOG = """\
examples:
  specz-cnn fit --example
  specz-cnn fit spec-3586-55181-0076.fits
  specz-cnn fit spectra/ more/spec-*.fits -o z.ecsv
  find /data -name 'spec-*.fits' | specz-cnn fit - -o z.fits
  specz-cnn fit coadd-main-dark-9968.fits spectrum.csv --air -o z.ecsv
  specz-cnn fit spectra/ -o - --output-format jsonl | jq .z
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
        help="table to write: .ecsv .fits .csv .parquet .vot .json .jsonl; DIRECTORY/: parts; -: standard output",
    )
    parser.add_argument(
        "--output-format",
        choices=STDOUT_FORMATS,
        metavar="NAME",
        help="of -o -: ecsv (default), csv, json, or jsonl, one line a spectrum",
    )
    add_overwrite(parser)
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
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1 ... (default: cuda, and the cpu where there is none or it fails)"
    )
    parser.add_argument(
        "--mask",
        type=_mask,
        default="default",
        metavar="POLICY",
        help="which pixels of SDSS files are bad: ivar, default, hard, or bits as a number (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="spectra that go through a network together"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"processes, of one core each; 0 for none (default: all cores for {_MANY} files and more)",
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


def _mask(text):
    """A mask policy, or its bits: a number, perhaps hexadecimal."""
    from argparse import ArgumentTypeError

    from specz_cnn.io.bitmask import mask_bits

    try:
        policy = int(text, 0) if text[:1].isdigit() else text
        mask_bits(policy)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return policy


def run(args):
    """Fit and write or show the table.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, 3 if some spectra could not be measured, 1 if none could.
    """
    if is_survey(args):
        if args.example or args.sdss:
            raise UsageError("--example and --sdss write one table, not a directory of parts")
        return run_survey(args, args.paths)
    if args.output_format is not None and args.output != "-":
        raise UsageError("--output-format is for -o -; of a file, the ending says it")
    if args.output:
        check_output(args.output, _COLUMNS, overwrite=args.overwrite)
    table = _measure(_paths(args), args)
    written = True
    if args.output:
        try:
            write_output(table, args.output, format=args.output_format)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            written = False
            _rescue(table, args.output, error)
    else:
        _show(table)
    failed = sum(error != "" for error in table["error"])
    if failed:
        where = (
            f"; see the column error of {args.output}" if args.output not in (None, "-") and written else ""
        )
        _log.warning("%d of %d spectra could not be measured%s", failed, len(table), where)
    return status_of(failed, len(table)) if written else FAILED


def _measure(paths, args):
    """The table of results; many files are measured by all cores."""
    options = {"batch_size": args.batch_size} if args.batch_size is not None else {}
    options |= {
        "model": args.model,
        "cross_check": args.cross_check,
        "device": args.device,
        "mask": args.mask,
    }
    options |= {"measure": args.measure, "convention": args.convention, "unit": args.unit, "air": args.air}
    options["progress"] = False if args.quiet else None
    if args.workers is None and len(paths) < _MANY:
        from specz_cnn.redshift.fit import fit_redshifts_cnn

        return fit_redshifts_cnn(paths, format=args.format, **options)
    from specz_cnn.survey import fit_files

    return fit_files(paths, n_workers=args.workers, input_format=args.format, **options)


def _rescue(table, output, error):
    """The output cannot be written after all (the disk is full, for example): save the work elsewhere."""
    from specz_cnn.results.tables import write_table

    _log.error("cannot write %s: %s", output, error)
    for directory in (os.getcwd(), tempfile.gettempdir()):
        path = Path(directory) / f"rescued-{os.getpid()}-{Path(output).name}"
        try:
            write_table(table, path)
        except OSError:
            continue
        _log.warning("%d rows in %s instead", len(table), path)
        return
    _log.warning("%d rows on standard output instead", len(table))
    write_output(table, "-")


def _paths(args):
    """All paths the arguments stand for, as a list."""
    from specz_cnn.io.formats.remote import is_address
    from specz_cnn.survey.inputs import iter_paths, read_list

    paths = []
    existing_paths(args.paths)
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

        _log.info("The example is a simulated spectrum; its true redshift is in its header (Z_TRUE).")
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
            _log.warning("%s-%s-%s: %s", row["plate"], row["mjd"], row["fiber"], row["error"])
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
            _log.warning("%s: %s", path, error)
