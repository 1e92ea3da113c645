"""The panels of a picture: the spectrum with its lines, p(z), the best peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specz_cnn.results.lines import LINES
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["DARK", "LIGHT", "Palette", "draw_pdf", "draw_peak", "draw_spectrum", "smooth_flux"]


_LINE_LABELS = {"Lya": "Ly\N{GREEK SMALL LETTER ALPHA}", "Hb": "H\N{GREEK SMALL LETTER BETA}"}


_LINE_LABELS |= {"Ha": "H\N{GREEK SMALL LETTER ALPHA}"}


@dataclass(frozen=True)
class Palette:
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


LIGHT = Palette(
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


DARK = Palette(
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


def draw_spectrum(axes, spectrum, result, palette, smooth, lines, second, wavelength_range, model):
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


def draw_pdf(axes, result, spectrum, palette, second):
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


def draw_peak(axes, result, spectrum, palette):
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
