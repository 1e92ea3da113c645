"""``specz-cnn plot``: pictures of spectra with their redshifts."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

from specz_cnn.commands import UsageError

__all__ = ["add_arguments", "run"]

_EPILOG = """\
examples:
  specz-cnn plot spec-3586-55181-0076.fits -o figure.pdf
  specz-cnn plot spectra/*.fits -o figures/ --format svg --dark
  specz-cnn plot spectra/*.fits -o all.pdf            one page for each spectrum
"""

_FORMATS = ("png", "pdf", "svg")


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
        "files", nargs="+", type=Path, metavar="FILE", help="SDSS spec-lite or full spec files"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR_OR_FILE",
        help="a file ending in .png, .pdf or .svg, or a directory for one picture of each spectrum",
    )
    parser.add_argument(
        "--format", choices=_FORMATS, default="png", help="kind of the pictures in DIR (default: %(default)s)"
    )
    parser.add_argument("--model", metavar="NAME", help="network that measures (default: the configured one)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--dark", action="store_true", help="light lines on a dark ground")
    parser.add_argument(
        "--smooth",
        type=_width,
        default=3.0,
        metavar="PIXELS",
        help="Gaussian smoothing (default: %(default)g)",
    )
    parser.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("FROM", "TO"),
        help="observed wavelengths in Angstrom to show (default: all)",
    )
    parser.add_argument("--no-lines", action="store_true", help="leave out the emission lines")
    parser.add_argument("--no-second", action="store_true", help="leave out the runner-up redshift")
    parser.add_argument(
        "--dpi", type=float, default=150.0, help="resolution of PNG files (default: %(default)g)"
    )


def _width(text):
    value = float(text)
    if not 0 <= value <= 1000:
        raise ValueError("out of range")
    return value


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, or 1 if a spectrum could not be read or measured.

    Raises
    ------
    UsageError
        If the output cannot hold the pictures.
    """
    targets = _targets(args)
    from specz_cnn.redshift.fit import fit_redshift_cnn
    from specz_cnn.results.plotting import detached_figure, plot_result

    options = {
        "dark": args.dark,
        "smooth": args.smooth,
        "lines": not args.no_lines,
        "second": not args.no_second,
        "wavelength_range": args.range,
    }
    failed = 0
    with _writer(args, targets) as save:
        for file in args.files:
            try:
                result = fit_redshift_cnn(file, model=args.model, device=args.device)
            except (OSError, ValueError) as error:
                print(f"{file}: {error}", file=sys.stderr)
                failed += 1
                continue
            save(file, plot_result(result, figure=detached_figure(), **options))
    print(f"wrote {len(args.files) - failed} of {len(args.files)} pictures to {args.output}", file=sys.stderr)
    return 1 if failed else 0


def _targets(args):
    """Path of each picture; None if all go into one file."""
    suffix = args.output.suffix.lower().lstrip(".")
    if args.output.is_dir() or suffix not in _FORMATS:
        if suffix and not args.output.is_dir():
            raise UsageError(f"{args.output}: pictures end in {', '.join('.' + name for name in _FORMATS)}")
        return _names(args.files, args.output, args.format)
    if len(args.files) == 1:
        return {args.files[0]: args.output}
    if suffix != "pdf":
        raise UsageError("several spectra need a directory, or one PDF file, to be drawn into")
    return None


def _names(files, directory, suffix):
    """One name for each file: those of equal names in several directories are numbered."""
    targets, taken = {}, {}
    for file in files:
        stem = file.name.removesuffix(".gz").removesuffix(".fits")
        taken[stem] = taken.get(stem, 0) + 1
        number = f"-{taken[stem]}" if taken[stem] > 1 else ""
        targets[file] = directory / f"{stem}{number}.{suffix}"
    return targets


def _writer(args, targets):
    """A context whose value saves the picture of a file."""
    from specz_cnn.results.plotting import many_pages, save_figure

    if targets is None:
        return many_pages(args.output)
    return nullcontext(lambda file, figure: save_figure(figure, targets[file], dpi=args.dpi))
