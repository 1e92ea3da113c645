"""``specz-cnn plot``: pictures of spectra with their redshifts."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from specz_cnn.commands import UsageError, existing, hide_progress, status_of

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

# Pictures that are worth the seconds that further processes need to start.
_MANY = 12

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
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"processes (default: all cores for {_MANY} files and more)"
    )
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
        0, 3 if a spectrum could not be read or measured, 1 if none could.

    Raises
    ------
    UsageError
        If the output cannot hold the pictures.
    """
    from tqdm import tqdm

    for file in args.files:
        existing(file)
    targets = _targets(args)
    options = {
        "dark": args.dark,
        "smooth": args.smooth,
        "lines": not args.no_lines,
        "second": not args.no_second,
        "wavelength_range": args.range,
    }
    work = _Work(options, args.model, args.device, args.dpi)
    failed = 0
    bar = tqdm(total=len(args.files), unit="picture", disable=hide_progress(args), file=sys.stderr)
    with bar, closing(_draw_all(args, targets, work)) as errors:
        for file, error in zip(args.files, errors, strict=True):
            if error:
                _log.warning("%s: %s", file, error)
                failed += 1
            bar.update()
    _log.info("wrote %d of %d pictures to %s", len(args.files) - failed, len(args.files), args.output)
    return status_of(failed, len(args.files))


def _draw_all(args, targets, work):
    """Draw each file; yields what went wrong, or nothing."""
    if targets is None:  # the pages of one file must come from one process
        from specz_cnn.results.plotting import many_pages

        with many_pages(args.output) as save:
            for file in args.files:
                yield work.draw(file, save)
        return
    from specz_cnn.parallel import in_processes, number_of_workers

    n_workers = min(number_of_workers(args.workers), len(args.files))
    if n_workers < 2 or (len(args.files) < _MANY and args.workers is None):
        n_workers = 0
    preload = ["specz_cnn.redshift.fit", "matplotlib.figure", "matplotlib.backends.backend_agg"]
    tasks = ((file, targets[file]) for file in args.files)
    for _, error in in_processes(work, tasks, n_workers, preload=preload, networks=True):
        yield error


@dataclass(frozen=True)
class _Work:
    """Measures and draws one spectrum; small, so that processes can be sent it."""

    options: dict
    model: str | None
    device: str | None
    dpi: float

    def __call__(self, task):
        """Draw the picture of a file; returns what went wrong, or an empty text."""
        from specz_cnn.results.plotting import save_figure

        file, target = task
        return self.draw(file, lambda _, figure: save_figure(figure, target, dpi=self.dpi))

    def draw(self, file, save):
        """Draw a file, and give it with its figure to ``save``."""
        from specz_cnn.redshift.fit import fit_redshift_cnn
        from specz_cnn.results.plotting import detached_figure, plot_result

        try:
            result = fit_redshift_cnn(file, model=self.model, device=self.device)
        except (OSError, ValueError) as error:
            return str(error)
        save(file, plot_result(result, figure=detached_figure(), **self.options))
        return ""


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
