"""Pictures of one result: the spectrum with its lines, and the probability of every redshift.

matplotlib is imported when a picture is drawn.  Nothing here changes its settings or its current figure, except that a
new figure is made through `matplotlib.pyplot` where the caller gives none, so that it shows up in notebooks and windows.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.results.flags import decode_flags
from specz_cnn.results.lines import LINES
from specz_cnn.velocity import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specz_cnn.typing import PathLike

__all__ = ["FIGURE_SIZE", "figure_bytes", "plot_result", "plot_spectrum", "save_figure", "smooth_flux"]

#: Width and height of a picture in inches.
FIGURE_SIZE = (11.0, 6.6)


_LINE_LABELS = {"Lya": "Ly\N{GREEK SMALL LETTER ALPHA}", "Hb": "H\N{GREEK SMALL LETTER BETA}"}
_LINE_LABELS |= {"Ha": "H\N{GREEK SMALL LETTER ALPHA}"}


@dataclass(frozen=True)
class _Palette:
    """Colours of one theme, from the colour-blind safe set of Okabe & Ito (2008)."""

    background: str
    text: str
    faint: str  # the unsmoothed flux
    flux: str
    error: str
    masked: str
    best: str
    second: str
    pipeline: str
    check: str


_LIGHT = _Palette(
    "#ffffff",
    "#1a1a1a",
    "#b9bec6",
    "#1f2933",
    "#8fc1e3",
    "#d9d9d9",
    "#d55e00",
    "#0072b2",
    "#007a5a",
    "#a3487c",
)
_DARK = _Palette(
    "#14171c",
    "#e8e8e8",
    "#59616d",
    "#f2f2f2",
    "#2f6f9a",
    "#33383f",
    "#ff9a3c",
    "#56b4e9",
    "#2fc79a",
    "#e39bc4",
)


def smooth_flux(flux: np.ndarray, ivar: np.ndarray, width: float) -> np.ndarray:
    """Smooth a spectrum with a Gaussian, each pixel weighted with its inverse variance.

    Parameters
    ----------
    flux, ivar : `~numpy.ndarray`, shape (n,)
        Flux and inverse variance; pixels with ``ivar <= 0`` do not count.
    width : float
        Standard deviation of the Gaussian in pixels; 0 leaves the good pixels as they are.

    Returns
    -------
    `~numpy.ndarray`, float64, shape (n,)
        The smoothed flux, NaN where no good pixel is near.

    Raises
    ------
    ValueError
        If the width is negative or not finite.
    """
    if not 0 <= width < np.inf:
        raise ValueError(f"the smoothing width must not be negative: {width}")
    good = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
    weight = np.where(good, ivar, 0.0).astype(np.float64)
    signal = weight * np.where(good, flux, 0.0)
    if width > 0:
        reach = int(np.ceil(4 * width))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        weight, signal = (np.convolve(x, kernel)[reach : reach + len(flux)] for x in (weight, signal))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, signal / weight, np.nan)


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
    palette = _DARK if dark else _LIGHT
    with _style(palette):
        figure = _new_figure() if figure is None else figure
        figure.set_facecolor(palette.background)
        grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1), width_ratios=(2.2, 1))
        top = figure.add_subplot(grid[0, :])
        _draw_spectrum(top, spectrum, result, palette, smooth, lines, second, wavelength_range, model)
        _draw_pdf(figure.add_subplot(grid[1, 0]), result, spectrum, palette, second)
        _draw_peak(figure.add_subplot(grid[1, 1]), result, spectrum, palette)
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
    palette = _DARK if dark else _LIGHT
    with _style(palette):
        if axes is None:
            axes = _new_figure(height=4.2).add_subplot()
            axes.figure.set_facecolor(palette.background)
        _draw_spectrum(axes, spectrum, result, palette, smooth, lines, second, wavelength_range, model)
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


def _draw_spectrum(axes, spectrum, result, palette, smooth, lines, second, wavelength_range, model):
    wavelength = 10.0 ** np.asarray(spectrum.loglam, dtype=np.float64)
    flux, ivar = np.asarray(spectrum.flux), np.asarray(spectrum.ivar)
    good = (ivar > 0) & np.isfinite(flux) & np.isfinite(ivar)
    smoothed = smooth_flux(flux, ivar, smooth)
    if smooth > 0:
        native = np.where(good, flux, np.nan)
        axes.step(
            wavelength,
            native,
            where="mid",
            color=palette.faint,
            lw=0.5,
            label="flux",
            rasterized=len(flux) > 20000,
        )
    axes.plot(
        wavelength, smoothed, color=palette.flux, lw=1.0, label="smoothed flux" if smooth > 0 else "flux"
    )
    fitted = getattr(result, "model_flux", None)
    if model and fitted is not None and len(fitted) == len(flux):
        axes.plot(wavelength, fitted, color=palette.best, lw=1.0, label="model")
    error = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), np.nan)
    axes.fill_between(
        wavelength, 0, error, step="mid", color=palette.error, alpha=0.55, lw=0, label=r"1$\sigma$ error"
    )
    axes.set_ylim(*_flux_limits(smoothed, error))
    axes.set_xlim(*_wavelength_limits(wavelength, good, wavelength_range))
    _shade_masked(axes, wavelength, good, palette)
    axes.axhline(0, color=palette.text, lw=0.5, alpha=0.5)
    if lines:
        if second and _has_second(result):
            _draw_lines(
                axes,
                result.z_second,
                palette.second,
                "--",
                0.02,
                "bottom",
                f"runner-up z = {result.z_second:.4f}",
            )
        if np.isfinite(result.z):
            _draw_lines(axes, result.z, palette.best, "-", 0.98, "top", f"lines at z = {result.z:.4f}")
    axes.set_xlabel(r"observed wavelength ($\mathrm{\AA}$, vacuum)")
    axes.set_ylabel(r"flux density $F_\lambda$")
    if np.isfinite(result.z):
        scale = 1 + result.z
        rest = axes.secondary_xaxis("top", functions=(lambda x: x / scale, lambda x: x * scale))
        rest.set_xlabel(r"rest-frame wavelength ($\mathrm{\AA}$)")


def _wavelength_limits(wavelength, good, wavelength_range):
    if wavelength_range is not None:
        return wavelength_range
    covered = wavelength[good] if good.any() else wavelength
    return (covered[0], covered[-1]) if covered.size > 1 else (3600.0, 10400.0)


def _flux_limits(smoothed, error):
    """Limits that hold the lines, but not every cosmic ray or the noise of the last blue pixels."""
    # Where the noise is far above the usual one, the flux tells nothing about the range.
    calm = np.isfinite(smoothed) & (
        np.nan_to_num(error, nan=np.inf) < 4 * np.nanmedian(error) if np.isfinite(error).any() else False
    )
    if calm.sum() < 10:
        calm = np.isfinite(smoothed)
    if not calm.any():
        return -1.0, 1.0
    low, high = np.percentile(smoothed[calm], (0.2, 99.8))
    low, high = min(low, 0.0), max(high, 0.0)
    margin = (high - low) or 1.0
    # The labels of the lines stand above the flux.
    return low - 0.10 * margin, high + 0.24 * margin


def _shade_masked(axes, wavelength, good, palette):
    if good.all() or not good.any():
        return
    bad = ~good
    # Native pixels are narrower than a dot of the picture: widen single ones, so that they can be seen.
    wide = bad | np.roll(bad, 1) | np.roll(bad, -1)
    axes.fill_between(
        wavelength,
        0,
        1,
        where=wide,
        transform=axes.get_xaxis_transform(),
        color=palette.masked,
        lw=0,
        zorder=0,
        label="masked",
    )


def _draw_lines(axes, z, colour, style, height, align, label):
    """Vertical lines with names, those that would overlap written one above the other."""
    left, right = axes.get_xlim()
    previous, level = -np.inf, 0
    for line in LINES:
        position = line.rest_wavelength * (1 + z)
        if not left < position < right:
            continue
        level = level + 1 if position - previous < 0.025 * (right - left) else 0
        previous = position
        axes.axvline(position, color=colour, ls=style, lw=1.0, alpha=0.75, label=label)
        label = None
        axes.annotate(
            _LINE_LABELS.get(line.name, line.name),
            (position, height + (-0.055 if align == "top" else 0.055) * level),
            xycoords=axes.get_xaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va=align,
            color=colour,
            fontsize=9,
            clip_on=True,
        )


def _has_second(result):
    """Whether there is a runner-up worth a drawing: of one in ten thousand nobody wants the lines."""
    return np.isfinite(result.z_second) and result.p_second > 1e-4


def _draw_pdf(axes, result, spectrum, palette, second):
    """p(z) over the whole range: a logarithm shows the runners-up."""
    axes.set_xscale("function", functions=(_safe_log1p, np.expm1))
    axes.set_xlabel("redshift z")
    axes.set_ylabel("probability")
    grid, pdf = np.asarray(result.z_grid, dtype=float), np.asarray(result.pdf, dtype=float)
    limits = (max(grid[0], 0.0), grid[-1]) if grid.size else (0.0, 7.1)
    axes.set_xlim(*limits)
    axes.set_xticks([z for z in (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7) if limits[0] <= z <= limits[1]])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    floor = 1e-6
    axes.set_yscale("log")
    axes.set_ylim(floor, 3.0)
    if grid.size and np.isfinite(pdf).any():
        axes.fill_between(
            grid, floor, np.maximum(pdf, floor), step="mid", color=palette.flux, alpha=0.3, lw=0
        )
        axes.step(grid, np.maximum(pdf, floor), where="mid", color=palette.flux, lw=0.8)
    _mark(axes, result.z, palette.best, "best", "v")
    if second and _has_second(result):
        _mark(axes, result.z_second, palette.second, f"runner-up ({result.p_second:.2g})", "v")
    _mark(axes, spectrum.z_pipe, palette.pipeline, "pipeline", "s")
    _mark(axes, getattr(result, "z_check", np.nan), palette.check, "cross-check", "D")
    _legend_above(axes)


def _legend_above(axes):
    """One row of entries on the upper edge, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=4,
            fontsize=8,
            frameon=False,
            borderaxespad=0.1,
            handletextpad=0.4,
            columnspacing=1.2,
        )


def _few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 5, 10])


def _safe_log1p(z):
    # matplotlib tries its scale on values left of the axis as well.
    return np.log1p(np.maximum(z, -0.99))


def _mark(axes, z, colour, label, marker):
    """A marker on the upper edge, so that equal redshifts of several origins stay readable."""
    left, right = axes.get_xlim()
    if np.isfinite(z) and left <= z <= right:
        axes.axvline(z, color=colour, lw=0.8, alpha=0.6, ls=":")
        heights = {"v": 0.94, "s": 0.80, "D": 0.66}
        axes.plot(
            [z],
            [heights[marker]],
            transform=axes.get_xaxis_transform(),
            marker=marker,
            ms=6,
            ls="",
            color=colour,
            label=label,
        )


def _draw_peak(axes, result, spectrum, palette):
    """The best peak on a scale of km/s, with its intervals."""
    axes.set_xlabel("velocity from best z (km/s)")
    axes.set_yticks([])
    axes.minorticks_off()
    if not np.isfinite(result.z):
        axes.text(0.5, 0.5, "no redshift", transform=axes.transAxes, ha="center", va="center")
        return
    velocity = SPEED_OF_LIGHT * (np.log1p(np.asarray(result.z_grid, dtype=float)) - np.log1p(result.z))
    pdf = np.asarray(result.pdf, dtype=float)
    error = SPEED_OF_LIGHT * result.z_err / (1 + result.z)
    reach = float(np.clip(8 * error if np.isfinite(error) else 2000, 500, 10000))
    for level, alpha in ((0.95, 0.3), (0.68, 0.6)):
        for low, high in np.reshape(result.z_interval(level), (-1, 2)):
            edges = SPEED_OF_LIGHT * (np.log1p([low, high]) - np.log1p(result.z))
            axes.axvspan(
                *edges,
                color=palette.error,
                alpha=alpha,
                lw=0,
                label=f"{level:.0%}" if low <= result.z <= high else None,
            )
    axes.step(velocity, pdf, where="mid", color=palette.flux, lw=1.2)
    axes.axvline(0, color=palette.best, lw=1.2)
    axes.set_xlim(-reach, reach)
    near = pdf[np.abs(velocity) <= reach]
    axes.set_ylim(0, 1.25 * near.max() if near.size and near.max() > 0 else 1)
    offset = (
        SPEED_OF_LIGHT * (np.log1p(spectrum.z_pipe) - np.log1p(result.z))
        if spectrum.z_pipe > -0.9
        else np.nan
    )
    if abs(offset) <= reach:
        axes.axvline(offset, color=palette.pipeline, lw=1.4, ls=":", label="pipeline")
    axes.xaxis.set_major_locator(_few_ticks())
    _legend_above(axes)
