"""Intergalactic absorption: the Lyman-alpha forest, Lyman-beta, the Lyman limit, damped systems.

References
----------
Becker G. D. et al. 2013, MNRAS 430, 2067: mean opacity of the forest at z < 5.
Fan X. et al. 2006, AJ 132, 117: its rise at z > 5.
Worseck G. et al. 2014, MNRAS 445, 1745: mean free path of ionising photons.
Noterdaeme P. et al. 2012, A&A 547, L1: incidence and column densities of damped Lyman-alpha systems.
"""

from __future__ import annotations

import torch

__all__ = ["damped_absorption", "forest_opacity", "forest_transmission", "lyman_limit"]

_LYA, _LYB, _LIMIT = 1215.67, 1025.72, 911.76


def forest_opacity(z):
    """Effective Lyman-alpha optical depth at absorber redshift ``z``."""
    low = 0.751 * ((1 + z) / 4.5).clamp(min=0.1) ** 2.90 - 0.132
    high = 0.85 * ((1 + z) / 5.0) ** 4.3
    steep = 2.63 * ((1 + z) / 6.5) ** 10.9
    tau = torch.where(z < 4.5, low, torch.where(z < 5.5, high, torch.maximum(high, steep)))
    return tau.clamp(min=0.0)


def _clumpy(shape, generator, device):
    """Log-normal density field, correlated over a few pixels, mean one."""
    g = torch.randn(shape, generator=generator, device=device)
    g = g + 0.5 * (torch.roll(g, 1, 1) + torch.roll(g, -1, 1))
    g = g / 1.2247
    return torch.exp(0.9 * g - 0.405)


def forest_transmission(rest, z, generator):
    """Transmission of the forest, and its mean.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
        Rest-frame wavelength in Angstrom.
    z : `torch.Tensor`, shape (batch, 1)
        Redshift of the quasar.
    generator : `torch.Generator`

    Returns
    -------
    transmission, mean : `torch.Tensor`, shape (batch, n_pixels)
    """
    one_plus = 1 + z
    tau = torch.where(rest < _LYA, forest_opacity(rest / _LYA * one_plus - 1), 0.0)
    beta = torch.where(rest < _LYB, 0.35 * forest_opacity(rest / _LYB * one_plus - 1), 0.0)
    mean = torch.exp(-tau - beta)
    clumps = _clumpy(rest.shape, generator, rest.device)
    # A clumpy medium of the same mean opacity transmits more: raise tau a little to keep the mean.
    return torch.exp(-(tau * 1.15 + beta * 1.1) * clumps), mean


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
