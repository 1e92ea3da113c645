"""Banks of spectra on a fine log-wavelength grid, redshifted by looking them up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["BANK_STEP", "Bank", "resample_rows"]

#: Sampling of the banks, in native SDSS pixels (1e-4 in log10 wavelength, 69 km/s).
BANK_STEP = 2.0


@dataclass(frozen=True)
class Bank:
    """Spectra on a rest-frame lattice: column ``j`` is at lattice position ``start + BANK_STEP * j``.

    Parameters
    ----------
    values : `torch.Tensor`, float32, shape (n_rows, n_columns)
    start : float
        Position of column 0, log10(wavelength / Angstrom) in units of 1e-4.
    """

    values: torch.Tensor
    start: float

    def to(self, device):
        """The same bank on another device."""
        return Bank(self.values.to(device), self.start)

    def observe(self, rows, position, *, outside="edge"):
        """Values of spectra at rest-frame positions, by linear interpolation.

        Parameters
        ----------
        rows : `torch.Tensor`, int64, shape (batch,), or float32, shape (batch, n_columns)
            Rows of the bank, or spectra already on its lattice.
        position : `torch.Tensor`, float32, shape (batch, n_pixels)
            Rest-frame log10 wavelength in units of 1e-4.
        outside : {"edge", "zero"}
            Beyond the ends: repeat the last value, or zero.
        """
        x = (position - self.start) / BANK_STEP
        n = self.values.shape[1]
        inside = (x >= 0) & (x <= n - 1)
        x = x.clamp(0, n - 1.001)
        left = x.floor()
        fraction = x - left
        left = left.to(torch.int64)
        if rows.dtype == torch.int64:
            flat = self.values.reshape(-1)
            left = left + rows[:, None] * n
            low, high = flat[left], flat[left + 1]
        else:
            low, high = rows.gather(1, left), rows.gather(1, left + 1)
        value = low + fraction * (high - low)
        return torch.where(inside, value, 0.0) if outside == "zero" else value


def resample_rows(loglam, rows, *, smooth=4.0, low=None, high=None):
    """Put spectra of any sampling on a bank lattice, averaged over ``smooth`` native pixels.

    Averaging here is what the pixels of the model grid do to the sky, so that looking a value up at a pixel centre is
    enough later.

    Parameters
    ----------
    loglam : `~numpy.ndarray`, shape (n,)
        log10 wavelength in units of 1e-4, ascending.
    rows : `~numpy.ndarray`, shape (n_rows, n)
    smooth : float
        Width of the average in native pixels.
    low, high : float, optional
        Range of the lattice; by default that of the input.

    Returns
    -------
    Bank
    """
    low = np.ceil(loglam[0] + smooth / 2) if low is None else low
    high = np.floor(loglam[-1] - smooth / 2) if high is None else high
    centres = np.arange(low, high, BANK_STEP)
    middle = 0.5 * (loglam[1:] + loglam[:-1])
    edges = np.concatenate([[2 * loglam[0] - middle[0]], middle, [2 * loglam[-1] - middle[-1]]])
    left, right = centres - smooth / 2, centres + smooth / 2
    out = np.empty((len(rows), centres.size), np.float32)
    for i, row in enumerate(rows):
        integral = np.concatenate([[0.0], np.cumsum(np.asarray(row, np.float64) * np.diff(edges))])
        out[i] = (np.interp(right, edges, integral) - np.interp(left, edges, integral)) / smooth
    return Bank(torch.from_numpy(out), float(centres[0]))
