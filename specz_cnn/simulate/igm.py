"""Intergalactic absorption: the Lyman-alpha forest and the proximity zone, Lyman-beta, the Lyman limit, damped systems.

References
----------
Becker G. D. et al. 2013, MNRAS 430, 2067: mean opacity of the forest at z < 5.
Fan X. et al. 2006, AJ 132, 117: its rise at z > 5.
Bajtlik S., Duncan R. C., Ostriker J. P. 1988, ApJ 327, 570; Fan X. et al. 2006; Eilers A.-C. et al. 2017, ApJ 840, 24,
and 2020, ApJ 900, 37: proximity zones and their scatter, small ones of young quasars.
Becker G. D. et al. 2015, MNRAS 447, 3402; Bosman S. E. I. et al. 2022, MNRAS 514, 55: opacity that differs from sightline
to sightline at z > 5: dark gaps, transmission spikes.
Miralda-Escude J. 1998, ApJ 501, 15; Davies F. B. et al. 2018, ApJ 864, 142: damping wing of neutral gas at z > 6.
Worseck G. et al. 2014, MNRAS 445, 1745: mean free path of ionising photons.
Noterdaeme P. et al. 2012, A&A 547, L1: incidence and column densities of damped Lyman-alpha systems.
Ellison S. L. et al. 2010, MNRAS 406, 1435: those within 3000 km/s of a quasar.
"""

from __future__ import annotations

import torch

from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = [
    "damped_absorption",
    "damped_systems",
    "damping_wing",
    "draw_proximity_zones",
    "forest_opacity",
    "forest_transmission",
    "lyman_limit",
]

_LYA, _LYB, _LIMIT = 1215.67, 1025.72, 911.76
_ZONE = 5.0  # proper Mpc: where the ionising light of a typical quasar equals the background


def forest_opacity(z):
    """Effective Lyman-alpha optical depth at absorber redshift ``z``."""
    low = 0.751 * ((1 + z) / 4.5).clamp(min=0.1) ** 2.90 - 0.132
    high = 0.85 * ((1 + z) / 5.0) ** 4.3
    steep = 2.63 * ((1 + z) / 6.5) ** 10.9
    tau = torch.where(z < 4.5, low, torch.where(z < 5.5, high, torch.maximum(high, steep)))
    return tau.clamp(min=0.0)


def _clumpy(z, generator, uniform):
    """Log-normal density of mean one at absorber redshifts ``z``, correlated from pixel to pixel.

    Scatter and correlation are those of the forest of BOSS spectra on pixels of 276 km/s: of flux over its mean, a
    variance of 0.06 at z = 2.2 and 0.07 at 2.6, and 0.4 between neighbours.
    """
    side = 0.5 if uniform else 0.28
    g = torch.randn(z.shape, generator=generator, device=z.device)
    g = (g + side * (torch.roll(g, 1, 1) + torch.roll(g, -1, 1))) / (1 + 2 * side**2) ** 0.5
    sigma = 0.9 if uniform else 0.9 + 0.6 * (2.8 - z).clamp(0, 0.8)
    return torch.exp(sigma * g - 0.5 * sigma**2)


def draw_proximity_zones(z, generator):
    """Radii, in proper Mpc, at which quasars ionise as much as the background does: 5 within a factor of 1.6, small for young ones.

    Parameters
    ----------
    z : `torch.Tensor`, shape (batch, 1)
    generator : `torch.Generator`
    """
    radius = _ZONE * torch.exp(0.5 * torch.randn(z.shape, generator=generator, device=z.device))
    young = torch.rand(z.shape, generator=generator, device=z.device) < 0.08
    return torch.where(young, 0.2 * radius, radius)


def _distance(rest, z):
    """Proper Mpc from the quasar to gas that absorbs in Lyman alpha at a wavelength, at least a little."""
    hubble = 70.0 * (0.3 * (1 + z) ** 3 + 0.7).sqrt()
    return (SPEED_OF_LIGHT * (1 - rest / _LYA) / hubble).clamp(min=1e-3)


def _sightlines(shape, z, generator, device):
    """Log-normal factor on the opacity, correlated over some 5000 km/s, that grows from nothing at z = 4."""
    n, n_pixels = shape
    coarse = torch.randn((n, 1, -(-n_pixels // 16) + 2), generator=generator, device=device)
    field = torch.nn.functional.interpolate(coarse, scale_factor=16, mode="linear")[:, 0, 8 : 8 + n_pixels]
    return torch.exp((0.45 * (z - 4.0)).clamp(0, 0.8) * field)


def damping_wing(rest, z, radius, generator):
    """Transmission redward and blueward of Lyman alpha through neutral gas beyond the proximity zone, at z > 5.8.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
    z, radius : `torch.Tensor`, shape (batch, 1)
        Redshift, and radius of the proximity zone in proper Mpc.
    generator : `torch.Generator`
    """
    size, device = z.shape, rest.device
    neutral = torch.rand(size, generator=generator, device=device) * (
        torch.rand(size, generator=generator, device=device) < ((z - 5.8) / 1.5).clamp(0, 0.8)
    )
    hubble = 70.0 * (0.3 * (1 + z) ** 3 + 0.7).sqrt()
    edge = radius * hubble / SPEED_OF_LIGHT  # velocity of the edge of the neutral gas, in units of c
    distance = (rest / _LYA - 1 + edge).clamp(min=3e-4)
    tau = 3.15e-3 * ((1 + z) / 7.0) ** 1.5 * neutral * (1 / distance - 1 / (distance + 0.06))
    return torch.exp(-tau)


def forest_transmission(rest, z, generator, radius=None, *, uniform_clumps=False):
    """Transmission of the forest, and its mean.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
        Rest-frame wavelength in Angstrom.
    z : `torch.Tensor`, shape (batch, 1)
        Redshift of the quasar.
    generator : `torch.Generator`
    radius : `torch.Tensor`, shape (batch, 1), optional
        Of proximity zones (:func:`draw_proximity_zones`), within which the gas is more ionised, and of sightlines that
        differ at z > 4; the mean is that of a typical zone.  None: a forest that knows of no quasar.
    uniform_clumps : bool
        Of one contrast at all redshifts, and smoother than real ones: the forest of the packaged example, whose spectra and
        redshifts stay what they are.

    Returns
    -------
    transmission, mean : `torch.Tensor`, shape (batch, n_pixels)
    """
    one_plus = 1 + z
    tau = torch.where(rest < _LYA, forest_opacity(rest / _LYA * one_plus - 1), 0.0)
    beta = torch.where(rest < _LYB, 0.35 * forest_opacity(rest / _LYB * one_plus - 1), 0.0)
    mean_tau, mean_beta = tau, beta
    if radius is not None:
        distance = _distance(rest, z)
        mean_tau = tau / (1 + (_ZONE / distance) ** 2)
        # Lyman beta of the same gas lies where its distance is counted from Lyman beta.
        nearer = _distance(rest * (_LYA / _LYB), z)
        mean_beta = beta / (1 + (_ZONE / nearer) ** 2)
        lines = _sightlines(rest.shape, z, generator, rest.device)
        tau = lines * tau / (1 + (radius / distance) ** 2)
        beta = lines * beta / (1 + (radius / nearer) ** 2)
    mean = torch.exp(-mean_tau - mean_beta)
    clumps = _clumpy(rest / _LYA * one_plus - 1, generator, uniform_clumps)
    # A clumpy medium of the same mean opacity transmits more: raise tau a little to keep the mean.
    alpha, other = (1.15, 1.1) if uniform_clumps else (1.22, 1.15)
    return torch.exp(-(tau * alpha + beta * other) * clumps), mean


def lyman_limit(rest, z, generator):
    """Transmission below the Lyman limit: the mean free path, and one opaque system on the way for most sightlines."""
    size = (rest.shape[0], 1)
    uniform = torch.rand(size, generator=generator, device=rest.device)
    below = rest < _LIMIT
    # Mean free path in rest-frame Angstrom of the quasar, from 37 Mpc ((1+z)/5)^-5.4.
    path = 105.0 * ((1 + z) / 4.0) ** -3.9
    diffuse = torch.exp(-(_LIMIT - rest).clamp(min=0) / path)
    # The first Lyman-limit system of optical depth above about two lies at an exponential distance.
    edge = _LIMIT - 1.8 * path * -torch.log(uniform.clamp(min=1e-6))
    depth = 2.0 + 6.0 * torch.rand(size, generator=generator, device=rest.device)
    system = torch.exp(-depth * (rest / edge.clamp(min=100.0)) ** 3)
    return torch.where(below, diffuse * torch.where(rest < edge, system, 1.0), 1.0)


def damped_systems(rest, reach, generator):
    """Transmission of a damped system in each spectrum, of a column density as they are distributed.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
    reach : tuple of float
        The range of their distances in front of the quasar, in units of c.
    generator : `torch.Generator`
    """
    size, (low, high) = (len(rest), 1), reach
    velocity = low + (high - low) * torch.rand(size, generator=generator, device=rest.device)
    share = torch.rand(size, generator=generator, device=rest.device).clamp(min=0.02)
    return damped_absorption(rest, velocity, 20.2 - 0.35 * torch.log(share))


def damped_absorption(rest, velocity, log_nhi):
    """Transmission of a damped Lyman-alpha system (the Lorentz wings; the core is black anyway).

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
        Wavelength in the rest frame of the quasar, Angstrom.
    velocity : `torch.Tensor`, shape (batch, 1)
        How far the absorber lies in front of the quasar, in units of c (positive towards us).
    log_nhi : `torch.Tensor`, shape (batch, 1)
        log10 of the column density in cm^-2.
    """
    frequency = 2.99792458e18 / (rest * (1 + velocity))
    offset = frequency - 2.99792458e18 / _LYA
    gamma = 6.265e8 / (4 * torch.pi)
    # pi e^2 / (m c) f = 0.02654 cm^2 Hz x 0.4164, in a Lorentzian of half width gamma.
    log_tau = log_nhi + torch.log10(0.02654 * 0.4164 * gamma / torch.pi / (offset**2 + 1e22))
    return torch.exp(-(10 ** log_tau.clamp(max=3.0)))
