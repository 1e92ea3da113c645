"""Noise-free quasar spectra.

Three recipes share the work: lines of real DR16 quasars on power-law continua, archetypes of the SDSS eigenspectra, and
fully parametric lines.  All get extra line diversity, tilt, dust, forest, Lyman limit, damped systems, broad
absorption, and at low redshift narrow lines and a host galaxy.  The zero point of velocity is the SDSS pipeline's.

References
----------
Vanden Berk D. E. et al. 2001, AJ 122, 549: continuum slopes.
Richards G. T. et al. 2003, AJ 126, 1131, and Prevot M. L. et al. 1984, A&A 132, 389: reddening by SMC-like dust.
Gibson R. R. et al. 2009, ApJ 692, 758: broad absorption lines.
"""

from __future__ import annotations

import math

import torch

from specz_cnn.simulate import igm

__all__ = ["quasar_spectra"]

_BAL_LINES = ((1549.1, 1.0), (1396.8, 0.7), (1240.8, 0.7), (1215.67, 0.4), (1033.8, 0.7))
_LOBAL_LINES = ((2799.1, 0.8), (1857.8, 0.8))


def _uniform(low, high, shape, generator, device):
    return low + (high - low) * torch.rand(shape, generator=generator, device=device)


def _normal(shape, generator, device):
    return torch.randn(shape, generator=generator, device=device)


def quasar_spectra(z, library, loglam, generator, config):
    """Observed-frame, noise-free spectra of quasars, of mean about one.

    Parameters
    ----------
    z : `torch.Tensor`, shape (batch,)
        Redshifts.
    library : TemplateLibrary
    loglam : `torch.Tensor`, float32, shape (n_pixels,)
        Observed log10 wavelength in units of 1e-4.
    generator : `torch.Generator`
    config : SimulationConfig

    Returns
    -------
    flux : `torch.Tensor`, shape (batch, n_pixels)
    is_bal : `torch.Tensor` of bool, shape (batch,)
    kind : `torch.Tensor` of int64, shape (batch,)
        0: lines of a real quasar, 1: archetype, 2: parametric lines.
    """
    device, size = loglam.device, (z.shape[0], 1)
    position = (loglam[None, :].double() - 1e4 * torch.log10(1 + z.double())[:, None]).float()
    rest = 10 ** (1e-4 * position)
    z = z[:, None].float()
    flux, kind = _continuum_and_lines(position, rest, z, library, generator, config)
    if config.extra_lines:
        rows = torch.randint(library.broad.values.shape[0], (size[0],), generator=generator, device=device)
        amplitude = 0.25 * _normal(size, generator, device).clamp(-1.5, 3.0)
        flux = flux * (1 + amplitude * library.broad.observe(rows, position, outside="zero")).clamp(min=0.05)
    if config.tilt:
        x = 1e-4 * position - 3.4
        # Target selection prefers blue quasars: without the mean tilt, simulated ones are too red.
        slope = -0.35 + 0.3 * _normal(size, generator, device)
        curve = 0.5 * _normal(size, generator, device)
        flux = flux * torch.exp((slope * x + curve * x * x) * math.log(10.0)).clamp(0.05, 20.0)
    if config.reddening:
        ebv = -0.02 * torch.log(torch.rand(size, generator=generator, device=device).clamp(min=1e-4))
        dusty = torch.rand(size, generator=generator, device=device) < 0.05
        ebv = torch.where(dusty, _uniform(0.05, 0.35, size, generator, device), ebv)
        flux = flux * 10 ** (-0.4 * ebv * (1.39 * (1e-4 * rest) ** -1.2 - 1.39 * 0.25**-1.2))
    low = z[:, 0] < 1.15
    if low.any() and (config.narrow_lines or config.host_galaxies):
        flux[low] = _narrow_and_host(flux[low], position[low], rest[low], z[low], library, generator, config)
    is_bal = torch.zeros(size[0], dtype=torch.bool, device=device)
    if config.bal:
        chosen = torch.rand(size[0], generator=generator, device=device)
        is_bal = (chosen < 0.10) & (z[:, 0] > 0.6)
        if is_bal.any():
            flux[is_bal] = flux[is_bal] * _broad_absorption(rest[is_bal], generator)
    high = z[:, 0] > 1.8
    if config.igm and high.any():
        flux[high] = _through_igm(flux[high], rest[high], z[high], kind[high], generator, config)
    return flux, is_bal, kind


def _power_law(rest, z, generator):
    """Power law of slope -1.56 in wavelength, flattening beyond 5000 A, steepening in the far ultraviolet."""
    size = (rest.shape[0], 1)
    slope = -1.56 + 0.35 * _normal(size, generator, rest.device)
    red = 0.2 + 0.5 * _normal(size, generator, rest.device)
    log_rest = torch.log(rest / 5000.0)
    continuum = torch.exp(torch.where(log_rest < 0, slope * log_rest, red * log_rest))
    far = torch.log(rest / 1180.0).clamp(max=0)
    return continuum * torch.exp(far * _uniform(0.2, 1.4, size, generator, rest.device))


def _continuum_and_lines(position, rest, z, library, generator, config):
    """Choose one of the recipes for each quasar; ``kind``: 0 real lines, 1 archetype, 2 parametric."""
    device, n = position.device, position.shape[0]
    # Real quasars of nearly the same redshift, whose lines were observed in the same window.
    index = torch.searchsorted(library.line_z, z[:, 0].contiguous())
    index = (index + torch.randint(-15, 16, (n,), generator=generator, device=device)).clamp(
        0, len(library.line_z) - 1
    )
    near = (torch.log1p(library.line_z[index]) - torch.log1p(z[:, 0])).abs() < 0.03
    draw = torch.rand(n, generator=generator, device=device)
    weights = torch.tensor(config.recipe_weights, dtype=torch.float32, device=device)
    share = weights.cumsum(0) / weights.sum()
    kind = torch.full((n,), 2, device=device)
    kind[draw < share[1]] = 1
    kind[(draw < share[0]) & near] = 0
    kind[(draw < share[0]) & ~near] = 1 + (draw[(draw < share[0]) & ~near] < 0.5 * share[0]).long()
    flux = torch.empty_like(position)

    real = kind == 0
    if real.any():
        lines = library.line_coefficients[index[real]] @ library.line_basis.values
        window = 1e4 * torch.log10(1 + library.line_z[index[real]])[:, None]
        # Beyond the window in which this quasar was observed the eigenvectors are unconstrained: repeat the edge.
        where = torch.minimum(torch.maximum(position[real], 35575.0 - window), 40120.0 - window)
        strength = torch.exp(0.25 * _normal((int(real.sum()), 1), generator, device))
        value = library.line_basis.observe(lines, where)
        flux[real] = _power_law(rest[real], z[real], generator) * (1 + strength * value).clamp(min=0.02)
    archetype = kind == 1
    if archetype.any():
        m = int(archetype.sum())
        rows = torch.randint(library.archetypes.values.shape[0], (2, m), generator=generator, device=device)
        share = torch.rand((m, 1), generator=generator, device=device)
        mixture = library.archetypes.values[rows[0]] * share + library.archetypes.values[rows[1]] * (
            1 - share
        )
        flux[archetype] = library.archetypes.observe(mixture, position[archetype]).clamp(min=0.0)
    parametric = kind == 2
    if parametric.any():
        m = int(parametric.sum())
        rows = torch.randint(library.broad.values.shape[0], (m,), generator=generator, device=device)
        value = library.broad.observe(rows, position[parametric], outside="zero")
        flux[parametric] = _power_law(rest[parametric], z[parametric], generator) * (1 + value)
    flux = flux / flux.mean(1, keepdim=True).clamp(min=1e-6)
    return flux.clamp(max=1e4), kind


def _narrow_and_host(flux, position, rest, z, library, generator, config):
    size, device = (flux.shape[0], 1), flux.device
    if config.narrow_lines:
        rows = torch.randint(library.narrow.values.shape[0], (size[0],), generator=generator, device=device)
        # On top of those that the lines of real quasars hold: EW of [OIII] around 4 A.
        strength = torch.exp(1.4 + 1.2 * _normal(size, generator, device))
        strength = strength * (torch.rand(size, generator=generator, device=device) < 0.5)
        flux = flux * (1 + strength * library.narrow.observe(rows, position, outside="zero"))
    if config.host_galaxies:
        pick = torch.randint(len(library.galaxy_coefficients), (size[0],), generator=generator, device=device)
        host = library.galaxies.observe(library.galaxy_coefficients[pick] @ library.galaxies.values, position)
        host = host.clamp(min=0) / host.clamp(min=0).mean(1, keepdim=True).clamp(min=1e-3)
        fraction = torch.rand(size, generator=generator, device=device) ** 2 * (0.9 * torch.exp(-1.8 * z))
        flux = flux / flux.mean(1, keepdim=True)
        flux = (1 - fraction) * flux + fraction * host
    return flux


def _broad_absorption(rest, generator):
    """Transmission of broad absorption troughs: one or two, the same velocities in every ion."""
    n, device = rest.shape[0], rest.device
    transmission = torch.ones_like(rest)
    for number in range(2):
        present = (
            1.0 if number == 0 else (torch.rand((n, 1), generator=generator, device=device) < 0.4).float()
        )
        centre = _uniform(0.004, 0.07, (n, 1), generator, device)
        width = torch.exp(_uniform(math.log(0.003), math.log(0.02), (n, 1), generator, device))
        depth = present * _uniform(0.2, 1.0, (n, 1), generator, device)
        lobal = (torch.rand((n, 1), generator=generator, device=device) < 0.12).float()
        for lines, weight in ((_BAL_LINES, 1.0), (_LOBAL_LINES, lobal)):
            for wavelength, strength in lines:
                velocity = 1 - rest / wavelength
                profile = torch.sigmoid((velocity - centre + width) / (0.2 * width)) * torch.sigmoid(
                    (centre + width - velocity) / (0.3 * width)
                )
                transmission = transmission * (1 - (weight * strength * depth * profile).clamp(0, 1))
    return transmission


def _through_igm(flux, rest, z, kind, generator, config):
    size, device = (flux.shape[0], 1), flux.device
    transmission, mean = igm.forest_transmission(rest, z, generator)
    # Lines of real quasars hold the mean forest of their own redshift; archetypes that of about z = 2.6.
    mean_archetype = igm.forest_transmission(rest, torch.full_like(z, 2.6), generator)[1]
    held = torch.where(
        kind[:, None] == 0, mean, torch.where(kind[:, None] == 1, mean_archetype, torch.ones_like(mean))
    )
    flux = flux * torch.where(rest < 1215.67, (transmission / held.clamp(min=0.05)).clamp(max=3.0), 1.0)
    flux = flux * igm.lyman_limit(rest, z, generator)
    if config.dla:
        has = torch.rand(size, generator=generator, device=device) < 0.12 * (z - 1.5).clamp(0, 2)
        if has.any():
            rows = has[:, 0]
            m = (int(rows.sum()), 1)
            velocity = torch.rand(m, generator=generator, device=device) * 0.18
            column = 20.2 - 0.35 * torch.log(
                torch.rand(m, generator=generator, device=device).clamp(min=0.02)
            )
            flux[rows] = flux[rows] * igm.damped_absorption(rest[rows], velocity, column)
    return flux
