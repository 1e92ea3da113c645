"""Absorption that belongs to the quasar: broad troughs, and narrow lines near its own redshift.

References
----------
Gibson R. R. et al. 2009, ApJ 692, 758: broad absorption lines, velocities and low-ionisation troughs.
Lyke B. W. et al. 2020, ApJS 250, 8; Guo Z., Martini P. 2019, ApJ 879, 72: one in six quasars has absorption wider than
450 km/s (AI > 0), one in seventeen wider than 2000 km/s (BI > 0).
Bischetti M. et al. 2022, Nature 605, 244: nearly half of the quasars at z ~ 6, and faster.
Vestergaard M. 2003, ApJ 599, 116; Nestor D. et al. 2008, MNRAS 386, 2055: associated narrow absorption.
"""

from __future__ import annotations

import math

import torch

from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["associated_absorption", "broad_absorption", "draw_broad_absorption"]

_BAL_LINES = ((1549.1, 1.0), (1396.8, 0.7), (1240.8, 0.7), (1215.67, 0.4), (1033.8, 0.7))
_LOBAL_LINES = ((2799.1, 0.8), (1857.8, 0.8))
#: Doublets as one line each where they are closer than a pixel: wavelength (Angstrom), strength.
_NARROW = (
    (1031.9, 0.6),
    (1037.6, 0.5),
    (1215.67, 1.0),
    (1238.8, 0.6),
    (1242.8, 0.45),
    (1393.8, 0.35),
    (1402.8, 0.25),
    (1548.2, 1.0),
    (1550.8, 0.8),
)
_NARROW_LOW = ((2796.4, 1.0), (2803.5, 0.8), (2600.2, 0.4), (2382.8, 0.4))


def _uniform(low, high, shape, generator, device):
    return low + (high - low) * torch.rand(shape, generator=generator, device=device)


def draw_broad_absorption(z, generator):
    """Which quasars have troughs: ``absent`` 0, narrower than 2000 km/s 1, broad 2, shape (batch,)."""
    draw = torch.rand(z.shape[0], generator=generator, device=z.device)
    early = (z > 5.7).float()
    broad, narrow = 0.065 + 0.16 * early, 0.10 + 0.06 * early
    kind = (draw < broad + narrow).long() + (draw < broad).long()
    return torch.where(z > 0.6, kind, 0)


def broad_absorption(rest, kind, z, generator):
    """Transmission of absorption troughs: up to three, the same velocities in every ion.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
        Rest-frame wavelength in Angstrom.
    kind : `torch.Tensor` of int64, shape (batch,)
        1: troughs of 450 to 2000 km/s, 2: broader ones, too.
    z : `torch.Tensor`, shape (batch,)
    generator : `torch.Generator`
    """
    n, device = rest.shape[0], rest.device
    transmission = torch.ones_like(rest)
    broad = (kind == 2)[:, None]
    fastest = torch.where(z[:, None] > 5.7, 0.15, 0.075)
    for number in range(3):
        present = _uniform(0, 1, (n, 1), generator, device) < (1.0, 0.4, 0.2)[number]
        wide = broad & (number < 2)
        half = torch.where(
            wide,
            torch.exp(_uniform(math.log(0.003), math.log(0.02), (n, 1), generator, device)),
            torch.exp(_uniform(math.log(0.0008), math.log(0.0034), (n, 1), generator, device)),
        )
        # Slow ones are more frequent.
        centre = half + fastest * _uniform(0, 1, (n, 1), generator, device) ** 1.5
        depth = present * _uniform(0.2, 1.0, (n, 1), generator, device)
        lobal = (_uniform(0, 1, (n, 1), generator, device) < 0.12).float()
        for lines, weight in ((_BAL_LINES, 1.0), (_LOBAL_LINES, lobal)):
            for wavelength, strength in lines:
                velocity = 1 - rest / wavelength
                profile = torch.sigmoid((velocity - centre + half) / (0.2 * half)) * torch.sigmoid(
                    (centre + half - velocity) / (0.3 * half)
                )
                transmission = transmission * (1 - (weight * strength * depth * profile).clamp(0, 1))
    return transmission


def associated_absorption(rest, generator):
    """Transmission of narrow lines at -1000 (falling in) to 4000 km/s from the quasar, most of them at rest.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
    generator : `torch.Generator`
    """
    n, device = rest.shape[0], rest.device

    def uniform(low, high):
        return _uniform(low, high, (n, 1), generator, device)

    outflow = torch.where(
        uniform(0, 1) < 0.6,
        350.0 * torch.randn((n, 1), generator=generator, device=device),
        uniform(-500.0, 4000.0),
    )
    # The pixel's own width is part of it.
    sigma = torch.hypot(torch.exp(uniform(math.log(60.0), math.log(300.0))), torch.tensor(90.0))
    depth = uniform(0.2, 1.0)
    low = (uniform(0, 1) < 0.25).float()
    opacity = torch.zeros_like(rest)
    for lines, weight in ((_NARROW, 1.0), (_NARROW_LOW, low)):
        for wavelength, strength in lines:
            offset = (SPEED_OF_LIGHT * (1 - rest / wavelength) - outflow) / sigma
            opacity = opacity + weight * strength * torch.exp(-0.5 * offset.clamp(-9, 9) ** 2)
    return 1 - depth * (1 - torch.exp(-3 * opacity))
