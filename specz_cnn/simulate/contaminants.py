"""Noise-free spectra of what a quasar target list also holds: galaxies, stars, blank sky."""

from __future__ import annotations

import torch

__all__ = ["galaxy_spectra", "sky_spectra", "star_spectra"]


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


def _tilted(flux, loglam, generator, amount):
    x = (loglam - loglam.mean()) * 1e-4
    slope = amount * torch.randn((flux.shape[0], 1), generator=generator, device=flux.device)
    return flux * torch.exp(2.302585 * slope * x)
