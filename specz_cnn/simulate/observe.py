"""What the telescope, the sky and the pipeline do to a spectrum: noise of real exposures, and their imperfections.

References
----------
Vernet J. et al. 2011, A&A 536, A105 (X-shooter): coverage and sensitivity unlike those of SDSS.
Smette A. et al. 2015, A&A 576, A77: what correction leaves of telluric absorption.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from specz_cnn.io.grid import LATTICE_STEP

__all__ = ["load_noise", "load_sky_fibres", "observe_spectra"]

#: Telluric absorption of oxygen and water: first and last wavelength (Angstrom), typical size of what correction leaves.
_TELLURIC = (
    (6865.0, 6960.0, 0.5),
    (7160.0, 7340.0, 0.5),
    (7590.0, 7720.0, 1.0),
    (8125.0, 8350.0, 0.6),
    (8930.0, 9820.0, 1.0),
)


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


def load_sky_fibres(path, grid, *, keep=None):
    """Spectra of fibres that looked at nothing, on a model grid.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file with ``flux`` and ``ivar`` of shape (n, n_native) on ``loglam0 + dloglam * arange(n_native)``.
    grid : ModelGrid
    keep : array_like of bool, optional
        Rows to use.

    Returns
    -------
    flux, ivar : `torch.Tensor`, float32, shape (n, n_pixels)
        Scaled to a mean inverse variance of one over pixels with data.
    """
    with np.load(path) as data:
        rows = np.arange(len(data["flux"])) if keep is None else np.flatnonzero(keep)
        flux, ivar = data["flux"][rows], data["ivar"][rows]
        loglam = data["loglam0"] + data["dloglam"] * np.arange(ivar.shape[1])
    fluxes, ivars = [], []
    for one, weight in zip(flux, ivar, strict=True):
        values, known = grid.rebin(loglam, one, weight)
        if (known > 0).any():
            level = known[known > 0].mean()
            fluxes.append(values * np.sqrt(level))
            ivars.append(known / level)
    return tuple(torch.from_numpy(np.asarray(rows, np.float32)) for rows in (fluxes, ivars))


def observe_spectra(
    flux, snr, noise, loglam, generator, config, native_per_pixel, *, z=None, other=None, sky=None
):
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
    z : `torch.Tensor`, shape (batch,), optional
        Redshifts, needed with ``other``: some instruments see nothing of the forest.
    other : `torch.Tensor` of bool, shape (batch,), optional
        Observed by another instrument than those of SDSS, with its own noise, resolution and coverage.
    sky : tuple of `torch.Tensor`, shape (n_sky, n_pixels), optional
        Real sky fibres (:func:`load_sky_fibres`), whose residuals some spectra get for noise.

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
    if config.telluric_residuals:
        # The pipeline of SDSS leaves little of it.
        foreign = torch.zeros((n, 1), dtype=torch.bool, device=device) if other is None else other[:, None]
        chosen = uniform(n, 1) < torch.where(foreign, 0.6, 0.15)
        flux = flux * _telluric(loglam, chosen, torch.where(foreign, 0.12, 0.05), normal, n)
    if other is not None and other.any():
        flux[other], ivar[other] = _other_instrument(
            flux[other], ivar[other], z[other], loglam, smooth, generator
        )
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
    error = normal(*shape)
    if sky is not None:
        rows = torch.randint(len(sky[0]), (n,), generator=generator, device=device)
        residual = (sky[0][rows] * sky[1][rows].sqrt()).clamp(-12, 12)
        share = torch.where(uniform(n, 1) < 0.2, 0.6 + 0.4 * uniform(n, 1), 0.0)
        sign = torch.where(uniform(n, 1) < 0.5, -1.0, 1.0)
        real = sign * share * residual + (1 - share**2).sqrt() * error
        error = torch.where(sky[1][rows] > 0, real, error)
    error = error * sigma * torch.exp(0.06 * normal(n, 1))
    if config.sky_residuals:
        # Errors of BOSS hold between the sky's lines and fall short on them.  Where subtraction failed they fall short, the
        # more the further to the red.
        failed = (uniform(n, 1) < 0.15).float()
        red = torch.sigmoid((loglam - 38900.0) / 150.0)
        bright = (ivar < 0.5 * _local_mean(ivar)).float()
        excess = 0.3 * failed * uniform(n, 1) * red + (0.2 + 0.4 * failed) * uniform(n, 1) * bright
        error = error * (1 + excess)
        error = error + 0.25 * (normal(n, 4) * uniform(n, 1)) @ smooth * sigma / native_per_pixel**0.5
    if config.cosmic_rays:
        hit = uniform(*shape) < 3e-4 * uniform(n, 1)
        error = error + torch.where(hit, 12.0 * normal(*shape) * sigma, 0.0)
    scale = amplitude.clamp(min=1e-3)
    return torch.where(good, (signal + error) / scale, 0.0), ivar * scale**2


def _telluric(loglam, chosen, typical, normal, n):
    """Factor on the flux: what is left of telluric absorption, smooth in each band with pixels that scatter."""
    wavelength = 10 ** (1e-4 * loglam)
    factor = torch.zeros((n, len(loglam)), device=loglam.device)
    for first, last, size in _TELLURIC:
        band = ((wavelength > first) & (wavelength < last)).float()
        factor = factor + typical * size * normal(n, 1) * band * (1 + 0.7 * normal(*factor.shape))
    return torch.where(chosen, (1 + factor).clamp(0.1, 2.0), 1.0)


def _other_instrument(flux, ivar, z, loglam, smooth, generator):
    """Flux at another resolution, inverse variances of other shapes, other ends; a third without the Lyman-alpha forest."""
    device, n = flux.device, len(flux)

    def uniform(*size):
        return torch.rand(size, generator=generator, device=device)

    # Sky lines as in SDSS, more or less of them, on a smooth curve.
    lines = (ivar / _local_mean(ivar).clamp(min=1e-6)).clamp(0.02, 3.0)
    lines = torch.where(ivar > 0, lines, 1.0) ** (1.5 * uniform(n, 1))
    spread = torch.tensor([0.0, 0.6, 0.5, 0.4], device=device)
    curve = (torch.randn((n, 4), generator=generator, device=device) * spread) @ smooth
    ivar = lines * torch.exp(curve)
    # A Gaussian of up to two pixels, 550 km/s, in a third.
    width = torch.where(uniform(n, 1) < 0.33, 0.5 + 1.5 * uniform(n, 1), 0.0)
    offset = torch.arange(-5, 6, device=device)
    kernel = torch.where(
        width > 0, torch.exp(-0.5 * (offset / width.clamp(min=0.2)) ** 2), (offset == 0).float()
    )
    padded = torch.nn.functional.pad(flux[None], (5, 5), mode="replicate")
    kernel = (kernel / kernel.sum(1, keepdim=True))[:, None]
    flux = torch.nn.functional.conv1d(padded, kernel, groups=n)[0]
    wavelength = 10 ** (1e-4 * loglam)
    first = torch.where(uniform(n, 1) < 0.4, 3600.0 + 3400.0 * uniform(n, 1), 3000.0)
    last = torch.where(uniform(n, 1) < 0.4, 7200.0 + 3400.0 * uniform(n, 1), 11000.0)
    forest = (1180.0 + 45.0 * uniform(n, 1)) * (1 + z[:, None])
    first = torch.where((uniform(n, 1) < 0.35) & (z[:, None] > 2), forest, first)
    first = torch.minimum(first, torch.tensor(8700.0, device=device))
    last = torch.maximum(last, first + 1500.0)
    return flux, torch.where((wavelength >= first) & (wavelength <= last), ivar, 0.0)


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
