"""What the telescope, the sky and the pipeline do to a spectrum: noise of real exposures, and their imperfections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from specz_cnn.io.grid import LATTICE_STEP

__all__ = ["load_noise", "observe_spectra"]


def load_noise(path, grid, *, keep=None):
    """Inverse variances of real spectra on a model grid.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file with ``ivar`` of shape (n, n_native) on ``loglam0 + dloglam * arange(n_native)``.
    grid : ModelGrid
    keep : array_like of bool, optional
        Rows to use.

    Returns
    -------
    `torch.Tensor`, float32, shape (n, n_pixels)
        Normalised to a mean of one over pixels with data.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path} to take real noise from")
    with np.load(path) as data:
        ivar = data["ivar"]
        loglam = data["loglam0"] + data["dloglam"] * np.arange(ivar.shape[1])
    if keep is not None:
        ivar = ivar[keep]
    rows = []
    for row in ivar:
        values = grid.rebin(loglam, np.zeros(row.size), row)[1]
        if (values > 0).sum() > 0.5 * 900 * 4 / grid.factor:
            rows.append(values / values[values > 0].mean())
    return torch.from_numpy(np.asarray(rows, np.float32))


def observe_spectra(flux, snr, noise, loglam, generator, config, native_per_pixel):
    """Add noise and instrumental effects.

    Parameters
    ----------
    flux : `torch.Tensor`, shape (batch, n_pixels)
        Noise-free spectra.
    snr : `torch.Tensor`, shape (batch,)
        Mean signal-to-noise ratio per native pixel (for blank sky, of its residual).
    noise : `torch.Tensor`, shape (n, n_pixels)
        Library of inverse variances (:func:`load_noise`).
    loglam : `torch.Tensor`, shape (n_pixels,)
        log10 wavelength in units of 1e-4.
    generator : `torch.Generator`
    config : SimulationConfig
    native_per_pixel : int
        Native SDSS pixels in one pixel.

    Returns
    -------
    flux, ivar : `torch.Tensor`, shape (batch, n_pixels)
    """
    device, shape = flux.device, flux.shape
    n = shape[0]

    def normal(*size):
        return torch.randn(size, generator=generator, device=device)

    def uniform(*size):
        return torch.rand(size, generator=generator, device=device)

    x = 2 * (loglam - loglam[0]) / (loglam[-1] - loglam[0]) - 1
    smooth = torch.stack([torch.ones_like(x), x, 1.5 * x * x - 0.5, 2.5 * x**3 - 1.5 * x])
    if config.flux_calibration:
        flux = flux * torch.exp(
            (normal(n, 4) * torch.tensor([0.0, 0.05, 0.04, 0.03], device=device)) @ smooth
        )
        step = torch.exp(0.04 * normal(n, 1) * (uniform(n, 1) < 0.3))
        # A few are off by a factor of two, as when a fibre misses its object or the arms do not match.
        bad = uniform(n, 1) < config.damaged
        flux = flux * torch.exp(0.4 * bad * normal(n, 3) @ smooth[1:])
        step = torch.where(bad, torch.exp(0.4 * normal(n, 1)), step)
        flux = torch.where(loglam > 37780.0, flux * step, flux)  # dichroic near 6000 A
    ivar = noise[torch.randint(noise.shape[0], (n,), generator=generator, device=device)]
    ivar = ivar * torch.exp((normal(n, 4) * torch.tensor([0.0, 0.3, 0.2, 0.1], device=device)) @ smooth)
    if config.masked_runs:
        ivar = _mask_runs(ivar, uniform, config.damaged)
    good = ivar > 0
    ratio = flux.abs() * ivar.sqrt() / native_per_pixel**0.5
    mean = ratio.sum(1, keepdim=True) / good.sum(1, keepdim=True).clamp(min=1)
    # In units in which the noise is that of the library, then back to the flux of the object.
    amplitude = snr[:, None] / mean.clamp(min=1e-6)
    signal = flux * amplitude
    sigma = torch.where(good, ivar.clamp(min=1e-12).rsqrt(), 0.0)
    error = normal(*shape) * sigma * torch.exp(0.06 * normal(n, 1))
    if config.sky_residuals:
        # Where the sky is bright the pipeline's error falls short, the more the further to the red.
        red = torch.sigmoid((loglam - 38900.0) / 150.0)
        bright = (ivar < 0.5 * _local_mean(ivar)).float()
        excess = uniform(n, 1) * 0.3 * red + 0.6 * uniform(n, 1) * bright
        error = error * (1 + excess)
        error = error + 0.25 * (normal(n, 4) * uniform(n, 1)) @ smooth * sigma / native_per_pixel**0.5
    if config.cosmic_rays:
        hit = uniform(*shape) < 3e-4 * uniform(n, 1)
        error = error + torch.where(hit, 12.0 * normal(*shape) * sigma, 0.0)
    scale = amplitude.clamp(min=1e-3)
    return torch.where(good, (signal + error) / scale, 0.0), ivar * scale**2


def _local_mean(ivar):
    return torch.nn.functional.avg_pool1d(ivar[:, None], 31, stride=1, padding=15, count_include_pad=False)[
        :, 0
    ]


def _mask_runs(ivar, uniform, damaged):
    """Cut ends, gaps and short runs out of some spectra."""
    n, n_pixels = ivar.shape
    pixel = torch.arange(n_pixels, device=ivar.device)[None, :]
    for chance, longest in ((0.15, 0.03), (0.05, 0.25)):
        start = (uniform(n, 1) * n_pixels).long()
        length = (uniform(n, 1) * longest * n_pixels).long()
        hidden = (pixel >= start) & (pixel < start + length) & (uniform(n, 1) < chance)
        ivar = torch.where(hidden, 0.0, ivar)
    blue, red = (uniform(n, 1) < 0.06), (uniform(n, 1) < 0.06)
    cut_blue = (uniform(n, 1) * 0.4 * n_pixels) * blue
    cut_red = n_pixels - (uniform(n, 1) * 0.4 * n_pixels) * red
    # In a few one arm, or nearly everything, is missing.
    short = uniform(n, 1) < damaged
    length = (0.12 + 0.5 * uniform(n, 1)) * n_pixels
    start = ((1.4 * uniform(n, 1) - 0.2) * (n_pixels - length)).clamp(min=0)  # often at the very beginning
    start = torch.minimum(start, n_pixels - length)
    cut_blue = torch.where(short, start, cut_blue)
    cut_red = torch.where(short, start + length, cut_red)
    return torch.where((pixel >= cut_blue) & (pixel < cut_red), ivar, 0.0)


def lattice_positions(grid, device=None):
    """log10 wavelength of the pixel centres of a grid in units of 1e-4, float32 tensor."""
    return torch.as_tensor(grid.loglam / LATTICE_STEP, dtype=torch.float32, device=device)
