"""Fits of a few eigenspectra to observed spectra, at every redshift of a lattice at once.

Pixels of the model grid and of the eigenspectra are equidistant in log wavelength.  A shift by one step of their lattice,
138 km/s, therefore moves the eigenspectra against the pixels by a whole number of samples, and the sums of the normal
equations at all shifts are correlations of the data with the eigenspectra and with their products: over the whole range
fast Fourier transforms give them together (as in the SDSS pipeline: Bolton A. S. et al. 2012, AJ 144, 144), over a few
thousand km/s about a redshift that is known products of small matrices do (`specz_cnn.models.lattice`).

Redshifts are counted on the lattice: shift ``k`` is at ``ln(1 + z) = k * SHIFT``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from scipy.fft import next_fast_len

from specz_cnn.io.grid import LATTICE_STEP
from specz_cnn.io.whole import write_whole
from specz_cnn.models.lattice import Lattice, few

__all__ = [
    "SAMPLE",
    "SHIFT",
    "Eigenspectra",
    "Transforms",
    "chi2_of",
    "read_eigenspectra",
    "write_eigenspectra",
]

#: Native pixels of SDSS in one sample of the eigenspectra, and in one shift.
SAMPLE = 2
#: Shifts of the scan in ln(1 + z): 138 km/s.
SHIFT = SAMPLE * LATTICE_STEP * float(np.log(10.0))

_N_POLYNOMIAL = 3
_REGULAR = 1e-6  # of the diagonal, added to it
_SETS = "measuring", "describing"


@dataclass(frozen=True)
class Eigenspectra:
    """A few spectra whose combinations, with a quadratic polynomial added, describe quasars.

    Parameters
    ----------
    values : `torch.Tensor`, float32, shape (n_spectra, n_samples)
        In the rest frame, averaged over pixels of the model grid, sampled every second native pixel.
    start : float
        log10(rest wavelength / Angstrom) of the first sample in units of 1e-4; samples lie on the lattice of the grid's pixel
        centres.
    prior : `torch.Tensor`, shape (n_spectra,)
        What chi2 grows by for coefficients of one, for spectra of mean flux one.
    """

    values: torch.Tensor
    start: float
    prior: torch.Tensor

    def __len__(self):
        return len(self.values)

    @property
    def n_parameters(self):
        """Of a fit at one redshift."""
        return len(self) + _N_POLYNOMIAL

    def to(self, device):
        """The same on another device."""
        return replace(self, values=self.values.to(device), prior=self.prior.to(device))

    @cached_property
    def _lattices(self):
        return {}

    def _lattice(self, grid):
        """The eigenspectra and their products as the pixels of a grid see them: two `Lattice`."""
        if grid not in self._lattices:
            stride = grid.factor // SAMPLE
            first = self._first(grid)
            i, j = torch.triu_indices(len(self), len(self))
            products = self.values[i] * self.values[j]
            self._lattices[grid] = tuple(
                Lattice.of(values, first, stride, grid.n_pixels) for values in (self.values, products)
            )
        return self._lattices[grid]

    def _first(self, grid):
        """The sample that the first pixel of a grid sees at redshift zero."""
        first = (grid.start + 0.5 * (grid.factor - 1) - self.start) / SAMPLE
        if abs(first - round(first)) > 1e-6 or grid.factor % SAMPLE:
            raise ValueError("the eigenspectra do not lie on the lattice of this grid")
        return round(first)

    def window(self, lowest, n_shifts, grid):
        """The samples that the pixels of a grid see at some shifts: shape (batch, n_spectra, n).

        Parameters
        ----------
        lowest : `torch.Tensor`, int64, shape (batch,)
            The first shift.
        n_shifts : int
        grid : `~specz_cnn.io.grid.ModelGrid`
        """
        n = grid.factor // SAMPLE * (grid.n_pixels - 1) + n_shifts
        # The highest shift sees the bluest samples.
        place = self._first(grid) - (lowest + n_shifts - 1)
        index = place[:, None] + torch.arange(n, device=lowest.device)
        return self.values[:, index.clamp(0, self.values.shape[1] - 1)].transpose(0, 1)

    def scan(self, flux, ivar, lowest, n_shifts, grid):
        """Chi-squared of the best fit at consecutive shifts.

        Parameters
        ----------
        flux, ivar : `torch.Tensor`, float32, shape (batch, n_pixels)
            On the grid; pixels without data have ``ivar = 0``.
        lowest : `torch.Tensor`, int64, shape (batch,)
            The first shift of each spectrum.
        n_shifts : int
        grid : `~specz_cnn.io.grid.ModelGrid`

        Returns
        -------
        `torch.Tensor`, float64, shape (batch, n_shifts)
            In the order of the shifts.
        """
        stride = grid.factor // SAMPLE
        # The small matrices are written where they are wanted, which gradients do not follow.
        learning = torch.is_grad_enabled() and (self.values.requires_grad or flux.requires_grad)
        if flux.is_cuda or learning or not few(n_shifts, stride):
            transforms = Transforms.of(self.window(lowest, n_shifts, grid))
            return chi2_of(flux, ivar, transforms, self.prior, n_shifts, stride)
        data = _Data.of(flux, ivar)
        spectra, products = self._lattice(grid)
        first = spectra.correlate(data.weighted, lowest, n_shifts)
        second = products.correlate(data.weighted[:, :1], lowest, n_shifts)
        return _chi2(data, first, second[:, :, 0], self.prior)

    def fit(self, flux, ivar, u, grid):
        """The best fit at one redshift.

        Parameters
        ----------
        flux, ivar : `torch.Tensor`, float32, shape (batch, n_pixels)
        u : `torch.Tensor`, float64, shape (batch,)
            ln(1 + z).
        grid : `~specz_cnn.io.grid.ModelGrid`

        Returns
        -------
        model : `torch.Tensor`, float64, shape (batch, n_pixels)
            On the grid.
        coefficients : `torch.Tensor`, float64, shape (batch, n_spectra + 3)
            Of the eigenspectra, and of 1, x and x^2, where x goes from -1 to 1 over the grid.
        """
        place = u / SHIFT
        lowest = place.floor()
        spectra, _ = self._lattice(grid)
        scale = _scale(flux, ivar)
        n = self.n_parameters
        # The flux goes along as one more column, in double precision, whose range the products of damaged pixels do not leave:
        # a fit that is not a number would find no outliers.
        vectors = torch.empty(*flux.shape, n + 1, dtype=torch.float64, device=flux.device)
        vectors[..., len(self) : n] = _powers(grid.n_pixels, flux.device).T
        vectors[..., n] = flux / scale
        products = vectors.new_empty(len(flux), n + 1, n)
        weight = (ivar * scale**2).double()
        # A row at a time stays in the processor's cache.
        for i, (low, share) in enumerate(zip(lowest.long().tolist(), (place - lowest).tolist(), strict=True)):
            row = vectors[i]
            row[:, : len(self)] = torch.lerp(spectra.at(low), spectra.at(low + 1), share)
            torch.mm((row * weight[i, :, None]).T, row[:, :n], out=products[i])
        normal, right = products[:, :n], products[:, n]
        diagonal = torch.arange(len(self), device=normal.device)
        normal[:, diagonal, diagonal] += self.prior.to(normal)
        size = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-30).rsqrt()
        normal = _regular(normal * size[..., None] * size[:, None])
        coefficients = size * torch.linalg.solve(normal, (right * size)[..., None])[..., 0]
        coefficients = coefficients * scale.double()
        return (vectors[..., :n] @ coefficients[..., None])[..., 0], coefficients

    def model(self, coefficients, u, loglam, grid):
        """A fitted model at any wavelengths.

        Parameters
        ----------
        coefficients : array_like, shape (n_spectra + 3,)
            From `fit`.
        u : float
            ln(1 + z).
        loglam : array_like, shape (n,)
            log10 of the observed wavelength in Angstrom.
        grid : `~specz_cnn.io.grid.ModelGrid`
            Of the fit.

        Returns
        -------
        `~numpy.ndarray`, float64, shape (n,)
            NaN outside the range of the grid, where nothing was fitted.
        """
        place = np.asarray(loglam, dtype=np.float64) / LATTICE_STEP
        sample = (place - u / (SHIFT / SAMPLE) - self.start) / SAMPLE
        values = self.values.cpu().numpy()
        rows = [np.interp(sample, np.arange(values.shape[1]), row) for row in values]
        first, last = grid.loglam[[0, -1]] / LATTICE_STEP
        x = 2 * (place - first) / (last - first) - 1
        rows += [x**k for k in range(_N_POLYNOMIAL)]
        half = 0.5 * grid.factor
        return np.where((place > first - half) & (place < last + half), coefficients @ np.array(rows), np.nan)


@dataclass(frozen=True)
class Transforms:
    """Fourier transforms of eigenspectra and of their products.

    Parameters
    ----------
    spectra : `torch.Tensor`, complex, shape (batch, n_spectra, n)
    products : `torch.Tensor`, complex, shape (batch, n_pairs, n)
        Of each pair once, in the order of `torch.triu_indices`.
    size : int
        Samples before the transform, with room for all shifts.
    """

    spectra: torch.Tensor
    products: torch.Tensor
    size: int

    @classmethod
    def of(cls, spectra):
        """Of eigenspectra, shape (batch, n_spectra, n_samples)."""
        i, j = torch.triu_indices(spectra.shape[1], spectra.shape[1])
        size = next_fast_len(spectra.shape[2], real=True)
        return cls(
            torch.fft.rfft(spectra, n=size), torch.fft.rfft(spectra[:, i] * spectra[:, j], n=size), size
        )


def chi2_of(flux, ivar, transforms, prior, n_shifts, stride):
    """Chi-squared of the best fits at consecutive shifts.

    Parameters
    ----------
    flux, ivar : `torch.Tensor`, float32, shape (batch, n_pixels)
    transforms : Transforms
        Of the samples that the pixels see at all shifts, those of the highest shift first.
    prior : `torch.Tensor`, shape (n_spectra,)
    n_shifts, stride : int
        Number of shifts, and samples in a pixel.

    Returns
    -------
    `torch.Tensor`, float64, shape (batch, n_shifts)
    """
    data = _Data.of(flux, ivar)
    batch, n_terms, n_pixels = data.weighted.shape
    spread = data.weighted
    if stride > 1:
        spread = data.weighted.new_zeros(batch, n_terms, stride * (n_pixels - 1) + 1)
        spread[..., ::stride] = data.weighted
    kernel = torch.fft.rfft(spread, n=transforms.size).conj()
    # The terms: weight times 1, x, x^2, and flux.
    first = torch.fft.irfft(transforms.spectra[:, :, None] * kernel[:, None], n=transforms.size)
    second = torch.fft.irfft(transforms.products * kernel[:, :1], n=transforms.size)
    first, second = (values[..., :n_shifts].flip(-1).movedim(-1, 1) for values in (first, second))
    return _chi2(data, first.transpose(2, 3), second, prior)


def _chi2(data, first, second, prior):
    """Chi-squared of the best fits, shape (batch, n_shifts), from what the data have in common with the eigenspectra.

    ``first``, shape (batch, n_shifts, 4, n_spectra), is that of the rows of ``data.weighted`` with the eigenspectra, ``second``,
    shape (batch, n_shifts, n_pairs), that of the weights with products of two.
    """
    k, m = len(prior), _N_POLYNOMIAL
    n = k + m
    # The normal equations above their diagonal, the polynomial's first, and their right side as one more column; all shifts
    # of an element lie side by side, so that elimination goes through all of them at once.
    table = second.new_empty(n, n + 1, *second.shape[:2], dtype=torch.float64)
    first, second = first.permute(2, 3, 0, 1), second.permute(2, 0, 1)
    table[:m, :m] = data.polynomial.permute(1, 2, 0)[..., None]
    table[:m, m:n] = first[:m]
    table[:m, n] = data.right.T[..., None]
    table[m:, n] = first[m]
    i, j = torch.triu_indices(k, k)
    table[m + i, m + j] = second.double()
    diagonal = torch.arange(n)
    table[diagonal[m:], diagonal[m:]] += prior.to(table)[:, None, None]
    size = table[diagonal, diagonal].clamp(min=1e-30).rsqrt()
    size = torch.cat([size, torch.ones_like(size[:1])])
    rows = [table[a, a:] * (size[a:] * size[a]) for a in range(n)]
    for row in rows:
        row[0].mul_(1 + _REGULAR).add_(_REGULAR**2)
    explained = torch.zeros_like(rows[0][0])
    for a, row in enumerate(rows):
        share = row[1:] / row[0]
        explained += share[-1] * row[-1]
        for b in range(a + 1, n):
            rows[b].addcmul_(share[b - a - 1], row[b - a :], value=-1)
    return data.total[:, None] - explained


@dataclass(frozen=True)
class _Data:
    """What the normal equations need of a spectrum, its flux scaled to about one and freed of a quadratic polynomial."""

    weighted: torch.Tensor  # (batch, 4, n_pixels): weight times 1, x, x^2, flux
    polynomial: torch.Tensor  # (batch, 3, 3)
    right: torch.Tensor  # (batch, 3)
    total: torch.Tensor  # (batch,): chi2 of nothing

    @classmethod
    def of(cls, flux, ivar):
        scale = _scale(flux, ivar)
        flux, weight = flux / scale, ivar * scale**2
        powers = _powers(flux.shape[1], flux.device)
        polynomial = (weight.double() @ _products(flux.shape[1], flux.device)).unflatten(
            1, (_N_POLYNOMIAL,) * 2
        )
        right = (weight * flux).double() @ powers.T
        # Chi2 does not depend on a polynomial in the data; without it there is less to subtract from each other.
        coefficients = torch.linalg.solve(_regular(polynomial), right[..., None])[..., 0]
        flux = flux - (coefficients @ powers).to(flux)
        both = weight * flux
        right = both.double() @ powers.T
        weighted = torch.cat([weight[:, None] * powers.to(flux), both[:, None]], 1)
        total = (both * flux).double().sum(1)
        return cls(weighted, polynomial, right, total)


def _scale(flux, ivar):
    """Typical flux of spectra, shape (batch, 1)."""
    root = ivar.sqrt()
    scale = (root * flux.abs()).sum(1, keepdim=True) / root.sum(1, keepdim=True).clamp(min=1e-30)
    return scale.clamp(min=1e-30)


def _regular(normal):
    """A normal matrix that can be solved, whatever is lacking."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    floor = _REGULAR**2 * diagonal.amax(-1, keepdim=True) + 1e-30
    return normal + torch.diag_embed(_REGULAR * diagonal + floor)


@cache
def _powers(n_pixels, device):
    x = torch.linspace(-1, 1, n_pixels, device=device, dtype=torch.float64)
    return torch.stack([x**k for k in range(_N_POLYNOMIAL)])


@cache
def _products(n_pixels, device):
    powers = _powers(n_pixels, device)
    return (powers[:, None] * powers[None]).flatten(0, 1).T.contiguous()


def read_eigenspectra(path):
    """The eigenspectra of a file written by `write_eigenspectra`.

    Returns
    -------
    measuring, describing : Eigenspectra
    """
    with np.load(path) as file:
        return tuple(
            Eigenspectra(
                torch.from_numpy(file[f"{name}_values"]),
                float(file["start"]),
                torch.from_numpy(file[f"{name}_prior"]),
            )
            for name in _SETS
        )


def write_eigenspectra(path, measuring, describing):
    """Write eigenspectra to an ``.npz`` file, in single precision.

    Parameters
    ----------
    path : path-like
    measuring, describing : Eigenspectra
        With the same samples.
    """
    if measuring.start != describing.start or measuring.values.shape[1] != describing.values.shape[1]:
        raise ValueError("both sets of eigenspectra must have the same samples")
    arrays = {"start": np.float64(measuring.start)}
    for name, some in zip(_SETS, (measuring, describing), strict=True):
        arrays[f"{name}_values"] = some.values.detach().cpu().numpy().astype(np.float32)
        arrays[f"{name}_prior"] = some.prior.detach().cpu().numpy().astype(np.float32)
    with write_whole(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)
