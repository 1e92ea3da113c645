"""Pictures of one result: the spectrum with its lines, and the probability of every redshift.

matplotlib is imported when a picture is drawn.  Nothing here changes its settings or its current figure, except that a
new figure is made through `matplotlib.pyplot` where the caller gives none, so that it shows up in notebooks and windows.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.results.flags import decode_flags
from specz_cnn.results.panels import DARK, LIGHT, draw_pdf, draw_peak, draw_spectrum, smooth_flux

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specz_cnn.typing import PathLike

__all__ = ["FIGURE_SIZE", "figure_bytes", "plot_result", "plot_spectrum", "save_figure", "smooth_flux"]

#: Width and height of a picture in inches.
FIGURE_SIZE = (11.0, 6.6)


def plot_result(
    result: Any,
    spectrum: Any = None,
    *,
    figure: Figure | None = None,
    dark: bool = False,
    smooth: float = 3.0,
    lines: bool = True,
    second: bool = True,
    wavelength_range: tuple[float, float] | None = None,
    model: bool = True,
) -> Figure:
    """Draw a result: the spectrum with emission lines where the redshift puts them, and p(z).

    The upper panel has the spectrum as it is (faint) and smoothed, the fit of eigenspectra, its 1-sigma error as an area
    at the bottom, masked pixels shaded, the lines at the best redshift (solid) and at the runner-up (dashed), and rest-frame wavelengths on
    top. The lower left panel has the probability of every redshift on a logarithmic scale, the lower right one the best
    peak in km/s with its 68 % and 95 % intervals. Title lines give the numbers and every flag in words.

    Parameters
    ----------
    result : `~specz_cnn.RedshiftResult`
    spectrum : `~specz_cnn.SpectrumArrays`, optional
        The spectrum; by default the one that the result remembers.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw; by default a new figure of `matplotlib.pyplot`.
    dark : bool, optional
        Light lines on a dark ground.
    smooth : float, optional
        Standard deviation of the smoothing in pixels; 0 for none.
    lines : bool, optional
        Draw the emission lines.
    second : bool, optional
        Draw the runner-up redshift.
    wavelength_range : (float, float), optional
        Observed wavelengths in Angstrom to show; by default all that have data.
    model : bool, optional
        Draw the fit of eigenspectra, if the result has one.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The figure, or the subfigure that was given.

    Raises
    ------
    ValueError
        If neither the result nor the caller has a spectrum.
    """
    spectrum = _spectrum_of(result, spectrum)
    palette = DARK if dark else LIGHT
    with _style(palette):
        figure = _new_figure() if figure is None else figure
        figure.set_facecolor(palette.background)
        grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1), width_ratios=(2.2, 1))
        top = figure.add_subplot(grid[0, :])
        draw_spectrum(top, spectrum, result, palette, smooth, lines, second, wavelength_range, model)
        draw_pdf(figure.add_subplot(grid[1, 0]), result, spectrum, palette, second)
        draw_peak(figure.add_subplot(grid[1, 1]), result, spectrum, palette)
        figure.suptitle(_headline(result, spectrum), x=0.012, ha="left", fontsize=10.5, linespacing=1.5)
        # Beside the title, where it can hide neither a line nor its name.
        figure.legend(*top.get_legend_handles_labels(), loc="upper right", ncols=2, fontsize=8, frameon=False)
    return figure


def plot_spectrum(
    result: Any,
    spectrum: Any = None,
    *,
    axes: Axes | None = None,
    dark: bool = False,
    smooth: float = 3.0,
    lines: bool = True,
    second: bool = True,
    wavelength_range: tuple[float, float] | None = None,
    model: bool = True,
) -> Axes:
    """Draw only the spectrum of a result, for example as a panel of a figure of your own.

    Parameters
    ----------
    result, spectrum, dark, smooth, lines, second, wavelength_range, model
        As for `plot_result`.
    axes : `~matplotlib.axes.Axes`, optional
        Where to draw; by default the axes of a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    ValueError
        If neither the result nor the caller has a spectrum.
    """
    spectrum = _spectrum_of(result, spectrum)
    palette = DARK if dark else LIGHT
    with _style(palette):
        if axes is None:
            axes = _new_figure(height=4.2).add_subplot()
            axes.figure.set_facecolor(palette.background)
        draw_spectrum(axes, spectrum, result, palette, smooth, lines, second, wavelength_range, model)
        axes.legend(loc="best", fontsize=8, framealpha=0.8, facecolor=palette.background, edgecolor="none")
    return axes


def save_figure(figure: Figure, path: PathLike, *, dpi: float = 150) -> None:
    """Write a figure to a file whose ending (.png, .pdf, .svg) says the format, fonts embedded as text.

    Parameters
    ----------
    figure : `~matplotlib.figure.Figure`
    path : str or `~pathlib.Path`
        A directory that does not exist is made.
    dpi : float, optional
        Resolution of pixel formats.
    """
    import matplotlib as mpl

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "specz-cnn"}):
        # No date: the same result gives the same file.
        metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower())
        if path.suffix.lower() == ".png" and _is_detached(figure):
            _save_png(figure, path, dpi)
        else:
            figure.savefig(path, dpi=dpi, metadata=metadata)


def _is_detached(figure):
    return getattr(figure.canvas, "manager", None) is None


def _save_png(figure, path, dpi):
    """As `savefig`, which draws everything twice, the first time only to find the layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(path)


@contextmanager
def many_pages(path):
    """A context that collects figures on the pages of one PDF file; its value is called with a name and a figure."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"pdf.fonttype": 42}), PdfPages(path, metadata={"CreationDate": None}) as pages:
        yield lambda name, figure: pages.savefig(figure)


def figure_bytes(
    result: Any,
    spectrum: Any = None,
    *,
    dark: bool = False,
    dpi: float = 90,
    format: str = "png",
    **options: Any,
) -> bytes:
    """The picture of a result as the bytes of a file, without any window or current figure: for web pages.

    Parameters
    ----------
    result, spectrum, dark
        As for `plot_result`.
    dpi : float, optional
        Resolution.
    format : {"png", "svg", "pdf"}, optional
    **options
        Passed to `plot_result`.

    Returns
    -------
    bytes
    """
    stream = io.BytesIO()
    figure = plot_result(result, spectrum, figure=detached_figure(), dark=dark, **options)
    if format == "png":
        _save_png(figure, stream, dpi)
    else:
        figure.savefig(stream, dpi=dpi, format=format)
    return stream.getvalue()


def detached_figure(height=FIGURE_SIZE[1]):
    """A figure that `matplotlib.pyplot` does not know about, freed when it goes out of use."""
    from matplotlib.figure import Figure

    return Figure(figsize=(FIGURE_SIZE[0], height), layout="constrained")


def _new_figure(height=FIGURE_SIZE[1]):
    from matplotlib import pyplot as plt

    return plt.figure(figsize=(FIGURE_SIZE[0], height), layout="constrained")


@contextmanager
def _style(palette):
    """The look of our pictures, whatever the user's settings, which come back afterwards."""
    import matplotlib as mpl

    settings = {
        "axes.edgecolor": palette.text,
        "axes.facecolor": palette.background,
        "axes.labelcolor": palette.text,
        "axes.linewidth": 0.8,
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": palette.text,
        "text.usetex": False,
        "xtick.color": palette.text,
        "ytick.color": palette.text,
        "xtick.direction": "in",
        "ytick.direction": "in",
        "xtick.minor.visible": True,
        "ytick.minor.visible": True,
        "ytick.right": True,
    }
    with mpl.rc_context(settings):
        yield


def _spectrum_of(result, spectrum):
    spectrum = getattr(result, "spectrum", None) if spectrum is None else spectrum
    if spectrum is None:
        raise ValueError("the result does not remember its spectrum; give it as the second argument")
    return spectrum


def _headline(result, spectrum):
    """Name, numbers and flags: what the picture says, in words."""
    name = Path(str(spectrum.file)).name
    if not name and spectrum.plate >= 0:
        name = f"plate {spectrum.plate}, MJD {spectrum.mjd}, fiber {spectrum.fiber}"
    numbers = [f"z = {result.z:.4f} $\\pm$ {result.z_err:.4f}"] if np.isfinite(result.z) else ["no redshift"]
    numbers += _number("confidence", result.confidence) + _number("p(quasar)", result.p_qso)
    numbers += _number("S/N", getattr(result, "snr", np.nan), ".1f")
    if np.isfinite(spectrum.z_pipe):
        kind = f" {spectrum.class_pipe}" if spectrum.class_pipe else ""
        numbers.append(f"pipeline{kind} z = {spectrum.z_pipe:.4f}")
    flags = decode_flags(int(result.flags))
    meanings = decode_flags(int(result.flags), lines=True)
    words = [f"{flag}: {line}" for flag, line in zip(flags, meanings, strict=True)] or ["no warning flag"]
    lines = [_plain(name)] if name else []
    return "\n".join([*lines, "   ".join(numbers), *words])


def _number(label, value, form=".3f"):
    return [f"{label} {value:{form}}"] if np.isfinite(value) else []


def _plain(text):
    """Text without mathematics: a dollar sign in a file name is a dollar sign."""
    return text.replace("$", r"\$")
