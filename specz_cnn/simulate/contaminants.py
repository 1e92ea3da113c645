"""Noise-free spectra of what a quasar target list also holds: galaxies, stars, blank sky, transients with broad lines.

References
----------
van Velzen S. et al. 2021, ApJ 908, 4; Charalampopoulos P. et al. 2022, A&A 659, A34: tidal disruption events, their
temperatures, broad H alpha and He II.
Filippenko A. V. 1997, ARA&A 35, 309: supernovae, P Cygni lines.
"""

from __future__ import annotations

import math

import torch

from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["galaxy_spectra", "real_sky_spectra", "sky_spectra", "star_spectra", "transient_spectra"]

#: Lines of transients: wavelength (Angstrom), chance that a transient has it.
_TRANSIENT_LINES = (
    (3890.0, 0.3),
    (4102.9, 0.3),
    (4341.7, 0.4),
    (4641.0, 0.4),  # N III of the Bowen mechanism
    (4687.0, 0.5),  # He II
    (4862.7, 0.6),
    (5577.0, 0.3),
    (5877.0, 0.4),
    (6355.0, 0.3),
    (6564.6, 0.8),
    (8600.0, 0.3),
)


def galaxy_spectra(z, library, loglam, generator):
    """Galaxies of redshift ``z``, shape (batch,), from random combinations of the SDSS eigenspectra."""
    device, n = loglam.device, z.shape[0]
    position = loglam[None, :] - 1e4 * torch.log10(1 + z)[:, None]
    pick = torch.randint(len(library.galaxy_coefficients), (n,), generator=generator, device=device)
    flux = library.galaxies.observe(library.galaxy_coefficients[pick] @ library.galaxies.values, position)
    # Narrow lines of galaxies with star formation or an obscured nucleus; some much stronger than the eigenspectra's.
    rows = torch.randint(library.narrow.values.shape[0], (n,), generator=generator, device=device)
    strength = torch.exp(0.5 + 1.3 * torch.randn((n, 1), generator=generator, device=device))
    strength = strength * (torch.rand((n, 1), generator=generator, device=device) < 0.5)
    flux = flux.clamp(min=0.01) * (1 + strength * library.narrow.observe(rows, position, outside="zero"))
    return _tilted(flux, loglam, generator, 0.4)


def star_spectra(z, library, loglam, generator):
    """Stars with radial velocities ``c z``, shape (batch,)."""
    device, n = loglam.device, z.shape[0]
    position = loglam[None, :] - 1e4 * torch.log10(1 + z)[:, None]
    rows = torch.randint(library.stars.values.shape[0], (n,), generator=generator, device=device)
    return _tilted(library.stars.observe(rows, position).clamp(min=-0.05), loglam, generator, 0.4)


def sky_spectra(n, loglam, generator):
    """Fibres without an object: a smooth residual of the sky subtraction, of either sign."""
    x = (loglam - loglam.mean()) / (loglam[-1] - loglam[0])
    terms = torch.stack([x**k for k in range(4)])
    return torch.randn((n, 4), generator=generator, device=loglam.device) @ terms


def transient_spectra(z, library, loglam, generator):
    """Hot continua with a few lines of 6,000 to 25,000 km/s, some with P Cygni absorption, on a host galaxy.

    Parameters
    ----------
    z : `torch.Tensor`, shape (batch,)
    library : TemplateLibrary
    loglam : `torch.Tensor`, shape (n_pixels,)
        log10 wavelength in units of 1e-4.
    generator : `torch.Generator`
    """
    device, size = loglam.device, (z.shape[0], 1)

    def uniform(low, high):
        return low + (high - low) * torch.rand(size, generator=generator, device=device)

    rest = 10 ** (1e-4 * loglam)[None, :] / (1 + z[:, None])
    temperature = torch.exp(uniform(math.log(6e3), math.log(35e3)))
    x = 1.43878e8 / (rest * temperature)
    flux = (rest / 5000.0) ** -5 / torch.expm1(x.clamp(max=60.0))
    flux = flux / flux.mean(1, keepdim=True)
    fwhm = torch.exp(uniform(math.log(6e3), math.log(25e3)))
    p_cygni = uniform(0, 1) < 0.4
    for wavelength, chance in _TRANSIENT_LINES:
        velocity = SPEED_OF_LIGHT * (rest / wavelength - 1) - uniform(-2000.0, 1000.0)
        profile = torch.exp(-0.5 * (2.3548 * velocity / fwhm) ** 2)
        trough = torch.exp(-0.5 * (2.3548 * (velocity + fwhm) / fwhm) ** 2)
        strength = (uniform(0, 1) < chance) * torch.exp(uniform(math.log(0.03), math.log(1.0)))
        flux = flux * (1 + strength * (profile - 0.5 * p_cygni * trough)).clamp(min=0.1)
    share = uniform(0, 0.7)
    return (1 - share) * flux + share * galaxy_spectra(z, library, loglam, generator)


def real_sky_spectra(n, sky, generator):
    """Fibres without an object: sums of two real ones with random weights.

    Parameters
    ----------
    n : int
    sky : tuple of `torch.Tensor`, shape (n_sky, n_pixels)
        Flux and inverse variance of real sky fibres (:func:`specz_cnn.simulate.observe.load_sky_fibres`).
    generator : `torch.Generator`

    Returns
    -------
    flux, ivar : `torch.Tensor`, shape (n, n_pixels)
    """
    device = sky[0].device
    rows = torch.randint(len(sky[0]), (2, n), generator=generator, device=device)
    angle = 0.5 * math.pi * torch.rand((n, 1), generator=generator, device=device)
    first, second = torch.cos(angle), torch.sin(angle)
    # Whatever is left of an object or of scattered light stays positive in one of them.
    sign = torch.where(torch.rand((n, 1), generator=generator, device=device) < 0.5, -1.0, 1.0)
    flux = first * sky[0][rows[0]] + sign * second * sky[0][rows[1]]
    good = (sky[1][rows] > 0).all(0)
    variance = first**2 / sky[1][rows[0]].clamp(min=1e-6) + second**2 / sky[1][rows[1]].clamp(min=1e-6)
    return torch.where(good, flux, 0.0), torch.where(good, 1 / variance, 0.0)


def _tilted(flux, loglam, generator, amount):
    x = (loglam - loglam.mean()) * 1e-4
    slope = amount * torch.randn((flux.shape[0], 1), generator=generator, device=flux.device)
    return flux * torch.exp(2.302585 * slope * x)
