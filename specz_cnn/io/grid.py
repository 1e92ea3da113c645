"""The wavelength grid of a network, and inverse-variance rebinning onto it.

SDSS spectra are sampled on a lattice: every native pixel centre lies at ``log10(wavelength / Angstrom) = 1e-4 * i``
with an integer ``i``, in every reduction of DR16.  A :class:`ModelGrid` groups a whole number of these pixels, so that
rebinning an SDSS spectrum is a plain weighted sum without any interpolation.  Any other sampling is rebinned by the
overlap of its pixels with those of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["LATTICE_STEP", "ModelGrid", "pixel_edges"]

#: Width of a native SDSS pixel in log10(wavelength).
LATTICE_STEP = 1e-4

# Centres this close to a lattice point (in units of native pixels) count as lying on it: SDSS stores loglam in
# float32, which near log10(lambda) = 4 resolves 2.4e-7, or 0.0024 pixels.
_LATTICE_TOLERANCE = 0.02

# A step this many times as wide as the usual ones, a quantile of so many on either side, is a gap.
_GAP_FACTOR, _GAP_QUANTILE, _GAP_WINDOW = 2.5, 0.6, 10

_LARGEST_LOGLAM = (
    100.0  # no spectrum reaches this; far beyond, lattice indices would not be integers any more
)
_LARGEST = float(np.finfo(np.float32).max)


def pixel_edges(centres: np.ndarray) -> np.ndarray:
    """Edges of pixels known by their centres: midpoints, with the first and last pixel as wide as their neighbours.

    Parameters
    ----------
    centres : `~numpy.ndarray`, shape (n,)
        Pixel centres, strictly ascending, ``n >= 2``.

    Returns
    -------
    `~numpy.ndarray`, shape (n + 1,)
    """
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def find_gaps(loglam, least):
    """Where pixels are missing, not masked: cut out, or between two arms.

    A step between neighbouring pixels is a gap if it is several times as wide as those on either side of it, and wide
    enough to matter.

    Parameters
    ----------
    loglam : `~numpy.ndarray`, shape (n,)
        Pixel centres, strictly ascending.
    least : float
        Narrower steps are never gaps.

    Returns
    -------
    gaps : `~numpy.ndarray` of int
        Pixels are missing between ``gaps`` and ``gaps + 1``.
    usual : `~numpy.ndarray`, shape (n - 1,)
        The step that is usual around each step; only made where there is a gap.
    """
    step = np.diff(loglam)
    none = np.empty(0, dtype=np.int64)
    if step.size < 2 or not (step > least).any():
        return none, step
    # A quantile above the median: where the orders of an echelle are interleaved, steps are narrow and wide in turn.
    size = min(_GAP_WINDOW, step.size - 1)
    padded = np.concatenate([np.zeros(size), step, np.zeros(size)])
    windows = np.quantile(np.lib.stride_tricks.sliding_window_view(padded, size), _GAP_QUANTILE, axis=1)
    # Usual on one side is enough: the arms of an instrument differ.
    usual = np.maximum(windows[: step.size], windows[size + 1 :])
    return np.flatnonzero((step > least) & (step > _GAP_FACTOR * usual)), usual


@dataclass(frozen=True)
class ModelGrid:
    """A grid of ``n_pixels`` pixels, each of ``factor`` native SDSS pixels, uniform in log10(wavelength).

    Parameters
    ----------
    start : int
        Lattice index of the first native pixel: its centre is at ``log10(wavelength) = start * 1e-4``.
    factor : int
        Native pixels per grid pixel; one native pixel is 69.0 km/s wide.
    n_pixels : int
        Number of grid pixels.
    """

    start: int = 35440
    factor: int = 4
    n_pixels: int = 1212

    def __post_init__(self):
        if self.factor < 1 or self.n_pixels < 1:
            raise ValueError(
                f"a grid needs positive factor and n_pixels, not {self.factor} and {self.n_pixels}"
            )

    @cached_property
    def loglam(self) -> np.ndarray:
        """log10 of the vacuum wavelength in Angstrom at the pixel centres, float64, shape (n_pixels,)."""
        first = self.start + 0.5 * (self.factor - 1)
        return LATTICE_STEP * (first + self.factor * np.arange(self.n_pixels))

    @cached_property
    def edges(self) -> np.ndarray:
        """log10(wavelength / Angstrom) of the pixel edges, float64, shape (n_pixels + 1,)."""
        return LATTICE_STEP * (self.start - 0.5 + self.factor * np.arange(self.n_pixels + 1))

    @cached_property
    def wavelength(self) -> np.ndarray:
        """Vacuum wavelength in Angstrom at the pixel centres, float64, shape (n_pixels,)."""
        return 10.0**self.loglam

    @property
    def step(self) -> float:
        """Pixel width in ln(wavelength), which is a pixel's width in ln(1 + z) too."""
        return self.factor * LATTICE_STEP * np.log(10.0)

    def rebin(self, loglam: ArrayLike, flux: ArrayLike, ivar: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Rebin one spectrum, weighting with the inverse variance.

        A grid pixel receives ``ivar = sum_i f_i ivar_i`` and ``flux = sum_i f_i ivar_i flux_i / ivar``, where ``f_i``
        is the fraction of input pixel ``i`` inside it.  Pixels without weight (``ivar <= 0``, or either value not
        finite) do not count; a grid pixel that gets none has ``flux = ivar = 0``.

        Parameters
        ----------
        loglam : array_like, shape (n,)
            log10 of the vacuum wavelength in Angstrom at pixel centres, strictly ascending.
        flux, ivar : array_like, shape (n,)
            Flux density and its inverse variance, in units that belong together.

        Returns
        -------
        flux, ivar : `~numpy.ndarray`, float32, shape (n_pixels,)

        Raises
        ------
        ValueError
            If the shapes differ or ``loglam`` does not ascend.
        """
        loglam = np.asarray(loglam, dtype=np.float64)
        flux = np.asarray(flux)
        ivar = np.asarray(ivar)
        if loglam.ndim != 1 or not loglam.shape == flux.shape == ivar.shape:
            raise ValueError(
                f"loglam, flux and ivar must be 1-D and alike, not {loglam.shape}, {flux.shape}, {ivar.shape}"
            )
        if not all(values.dtype.kind in "fiub" for values in (flux, ivar)):
            raise ValueError(f"flux and ivar must be real numbers, not {flux.dtype} and {ivar.dtype}")
        if loglam.size == 0:
            return np.zeros(self.n_pixels, np.float32), np.zeros(self.n_pixels, np.float32)
        # NaN is not within any bounds, and the least and the largest of anything with NaN is NaN.
        if not (loglam.min() > -_LARGEST_LOGLAM and loglam.max() < _LARGEST_LOGLAM):
            raise ValueError("wavelengths must be finite, and their logarithms are to base 10")
        with np.errstate(invalid="ignore"):
            good = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
        weight = np.where(good, ivar, 0.0).astype(np.float64)
        signal = weight * np.where(good, flux, 0.0)
        position = loglam / LATTICE_STEP
        first = int(np.rint(position[0]))
        if np.abs(position - np.arange(first, first + position.size)).max() < _LATTICE_TOLERANCE:
            # Almost all spectra of SDSS: native pixels without a gap.
            weight, signal = (self._sum_run(first - self.start, values) for values in (weight, signal))
        elif np.abs(position - (nearest := np.rint(position))).max() < _LATTICE_TOLERANCE:
            index = nearest.astype(np.int64)
            if np.diff(index).min() < 1:
                raise ValueError("wavelengths must ascend strictly")
            weight, signal = self._sum_lattice(index, weight, signal)
        else:
            weight, signal = self._sum_overlap(loglam, weight, signal)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(weight > 0, signal / weight, 0.0)
        # Sums of four may leave the range of single precision.
        mean, weight = np.minimum(np.maximum(mean, -_LARGEST), _LARGEST), np.minimum(weight, _LARGEST)
        return mean.astype(np.float32), weight.astype(np.float32)

    def _sum_lattice(self, index, *values):
        """Sum values of native pixels over the grid pixels that hold them."""
        pixel = (index - self.start) // self.factor
        inside = (pixel >= 0) & (pixel < self.n_pixels)
        pixel = pixel[inside]
        return [np.bincount(pixel, value[inside], minlength=self.n_pixels) for value in values]

    def _sum_run(self, first, values):
        """The same for pixels without a gap, the first of which is ``first`` from the start of the grid."""
        native = np.zeros(self.n_pixels * self.factor)
        low, high = max(0, -first), min(values.size, native.size - first)
        if low < high:
            native[first + low : first + high] = values[low:high]
        # A product with ones: numpy's sum over so short an axis takes its time.
        return native.reshape(-1, self.factor) @ np.ones(self.factor)

    def _sum_overlap(self, loglam, *values):
        """Share values of arbitrary pixels among the grid pixels in proportion to the overlap in log wavelength."""
        if loglam.size < 2:
            raise ValueError("a spectrum off the SDSS lattice needs at least two pixels to know their width")
        if not np.diff(loglam).min() > 0:
            raise ValueError("wavelengths must ascend strictly")
        edges = pixel_edges(loglam)
        gaps, usual = find_gaps(loglam, self.factor * LATTICE_STEP)
        if gaps.size:
            edges, values = _leave_out(loglam, edges, gaps, usual, values)
        # Each input pixel meets a run of grid pixels; walk the union of both sets of edges.
        inner = self.edges[(self.edges > edges[0]) & (self.edges < edges[-1])]
        union = np.union1d(edges, inner)
        middle = 0.5 * (union[1:] + union[:-1])
        source = np.clip(np.searchsorted(edges, middle) - 1, 0, edges.size - 2)
        target = np.searchsorted(self.edges, middle) - 1
        fraction = np.diff(union) / np.diff(edges)[source]
        inside = (target >= 0) & (target < self.n_pixels)
        source, target, fraction = source[inside], target[inside], fraction[inside]
        return [np.bincount(target, fraction * value[source], minlength=self.n_pixels) for value in values]

    def to_dict(self) -> dict[str, int]:
        """The three integers that define the grid, for metadata."""
        return {"start": self.start, "factor": self.factor, "n_pixels": self.n_pixels}


def _leave_out(loglam, edges, gaps, usual, values):
    """Edges and values with an empty pixel in place of each gap; the pixels beside it are as wide as is usual there."""
    half = 0.5 * usual[gaps]
    left, right = loglam[gaps] + half, loglam[gaps + 1] - half
    # The usual step may be that of the other arm: never more than a third of the gap.
    third = (loglam[gaps + 1] - loglam[gaps]) / 3
    left, right = np.minimum(left, loglam[gaps] + third), np.maximum(right, loglam[gaps + 1] - third)
    edges = np.insert(edges, gaps + 2, right)
    edges[gaps + 1 + np.arange(gaps.size)] = left
    # A first or last pixel that stands alone has got the width of the gap on its other side, too.
    if gaps[0] == 0:
        edges[0] = loglam[0] - half[0]
    if gaps[-1] == loglam.size - 2:
        edges[-1] = loglam[-1] + half[-1]
    return edges, tuple(np.insert(value, gaps + 1, 0.0) for value in values)
