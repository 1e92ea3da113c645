"""Noise-free quasar spectra.

Three recipes share the work: lines of real DR16 quasars on power-law continua, archetypes of the SDSS eigenspectra, and
fully parametric lines.  All get shifts of their lines, extra line diversity, tilt, dust, forest, Lyman limit, damped systems,
absorption of their own, and at low redshift narrow lines and a host galaxy.  The zero point of velocity is that of Mg II.

References
----------
Vanden Berk D. E. et al. 2001, AJ 122, 549: continuum slopes.
Richards G. T. et al. 2003, AJ 126, 1131, and Prevot M. L. et al. 1984, A&A 132, 389: reddening by SMC-like dust.
"""

from __future__ import annotations

import math

import torch

from specz_cnn.simulate import igm
from specz_cnn.simulate.absorbers import associated_absorption, broad_absorption, draw_broad_absorption
from specz_cnn.simulate.emission import double_peaked_lines
from specz_cnn.simulate.shifts import civ_equivalent_width, draw_shifts

__all__ = ["quasar_spectra"]


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
    flux, kind, shifts = _continuum_and_lines(position, rest, z, library, generator, config)
    if config.extra_lines:
        rows = torch.randint(library.broad.values.shape[0], (size[0],), generator=generator, device=device)
        amplitude = 0.25 * _normal(size, generator, device).clamp(-1.5, 3.0) * shifts.strength
        lines = library.broad.observe(rows, shifts.source(position), outside="zero")
        # A share of the lines that are there, about as strong: the flux is that of continuum and lines.
        flux = flux * (1 + amplitude * lines / (1 + lines.clamp(min=0))).clamp(min=0.05)
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
    if low.any() and (config.narrow_lines or config.host_galaxies or config.double_peaks):
        flux[low] = _narrow_and_host(flux[low], position[low], rest[low], z[low], library, generator, config)
    is_bal = torch.zeros(size[0], dtype=torch.bool, device=device)
    if config.bal:
        troughs = draw_broad_absorption(z[:, 0], generator)
        is_bal = troughs > 0
        if is_bal.any():
            flux[is_bal] = flux[is_bal] * broad_absorption(
                rest[is_bal], troughs[is_bal], z[is_bal, 0], generator
            )
    if config.associated_absorption:
        has = torch.rand(size[0], generator=generator, device=device) < 0.15
        if has.any():
            flux[has] = flux[has] * associated_absorption(rest[has], generator)
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
    """Choose one of the recipes for each quasar; ``kind``: 0 real lines, 1 archetype, 2 parametric.  Also the shifts of lines."""
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
    lines, strength = {}, torch.ones((n, 1), device=device)

    real, archetype, parametric = (torch.nonzero(kind == i)[:, 0] for i in range(3))
    width = torch.full((n, 1), 30.0, device=device)
    if len(real):
        values = library.line_coefficients[index[real]] @ library.line_basis.values
        window = 1e4 * torch.log10(1 + library.line_z[index[real]])[:, None]
        # They differ as real ones do: little on top.
        strength[real] = torch.exp(0.1 * _normal((len(real), 1), generator, device))

        def lines_of_real(at):
            # Beyond the window in which this quasar was observed the eigenvectors are unconstrained: repeat the edge.
            where = torch.minimum(torch.maximum(at, 35575.0 - window), 40120.0 - window)
            return library.line_basis.observe(values, where)

        lines[0] = lines_of_real
    if len(archetype):
        m = len(archetype)
        rows = torch.randint(library.archetypes.values.shape[0], (2, m), generator=generator, device=device)
        share = torch.rand((m, 1), generator=generator, device=device)
        first, second = library.archetypes.values[rows[0]], library.archetypes.values[rows[1]]
        mixture = first * share + second * (1 - share)

        def flux_of_archetype(at):
            return library.archetypes.observe(mixture, at)

    if len(parametric):
        rows_of_lines = torch.randint(
            library.broad.values.shape[0], (len(parametric),), generator=generator, device=device
        )
        # Measured like those of real quasars, over a straight line between both sides, their widths are two thirds.
        strength[parametric] = 1.5
        lines[2] = lambda at: library.broad.observe(rows_of_lines, at, outside="zero")
    members = {0: real, 2: parametric}
    for recipe, lines_of in lines.items():
        rows = members[recipe]
        width[rows] = civ_equivalent_width(
            lambda at, rows=rows, lines_of=lines_of: 1 + strength[rows] * lines_of(at), len(rows), device
        )
    if len(archetype):
        width[archetype] = civ_equivalent_width(flux_of_archetype, len(archetype), device)
    shifts = draw_shifts(z, width, generator, config)
    source = shifts.source(position)
    for recipe, lines_of in lines.items():
        rows = members[recipe]
        value = strength[rows] * lines_of(source[rows]) * shifts[rows].factor(position[rows])
        flux[rows] = _power_law(rest[rows], z[rows], generator) * (1 + value).clamp(min=0.02)
    if len(archetype):
        flux[archetype] = flux_of_archetype(source[archetype]).clamp(min=0.0)
    flux = flux / flux.mean(1, keepdim=True).clamp(min=1e-6)
    return flux.clamp(max=1e4), kind, shifts


def _narrow_and_host(flux, position, rest, z, library, generator, config):
    size, device = (flux.shape[0], 1), flux.device
    if config.narrow_lines:
        rows = torch.randint(library.narrow.values.shape[0], (size[0],), generator=generator, device=device)
        # On top of those that the lines of real quasars hold: EW of [OIII] around 4 A.
        strength = torch.exp(1.4 + 1.2 * _normal(size, generator, device))
        strength = strength * (torch.rand(size, generator=generator, device=device) < 0.5)
        flux = flux * (1 + strength * library.narrow.observe(rows, position, outside="zero"))
    if config.double_peaks:
        has = torch.rand(size[0], generator=generator, device=device) < config.double_peaks
        if has.any():
            flux[has] = flux[has] * (1 + double_peaked_lines(rest[has], generator))
    if config.host_galaxies:
        pick = torch.randint(len(library.galaxy_coefficients), (size[0],), generator=generator, device=device)
        host = library.galaxies.observe(library.galaxy_coefficients[pick] @ library.galaxies.values, position)
        host = host.clamp(min=0) / host.clamp(min=0).mean(1, keepdim=True).clamp(min=1e-3)
        fraction = torch.rand(size, generator=generator, device=device) ** 2 * (0.9 * torch.exp(-1.8 * z))
        flux = flux / flux.mean(1, keepdim=True)
        flux = (1 - fraction) * flux + fraction * host
    return flux


def _through_igm(flux, rest, z, kind, generator, config):
    size, device = (flux.shape[0], 1), flux.device
    radius = igm.draw_proximity_zones(z, generator) if config.proximity_zones else None
    transmission, mean = igm.forest_transmission(rest, z, generator, radius)
    # Lines of real quasars hold the mean forest of their own redshift; archetypes that of about z = 2.6.
    mean_archetype = igm.forest_transmission(rest, torch.full_like(z, 2.6), generator, radius)[1]
    held = torch.where(
        kind[:, None] == 0, mean, torch.where(kind[:, None] == 1, mean_archetype, torch.ones_like(mean))
    )
    flux = flux * torch.where(rest < 1215.67, (transmission / held.clamp(min=0.05)).clamp(max=3.0), 1.0)
    flux = flux * igm.lyman_limit(rest, z, generator)
    if config.damping_wing and radius is not None:
        flux = flux * igm.damping_wing(rest, z, radius, generator)
    if config.dla:
        far = 0.12 * (z - 1.5).clamp(0, 2), (0.0, 0.18)
        # At the quasar itself, in its galaxy or next to it: more than chance would put there.
        near = 0.04 * (z > 1.8), (-0.002, 0.01)
        for share, reach in (far, near):
            rows = (torch.rand(size, generator=generator, device=device) < share)[:, 0]
            if rows.any():
                flux[rows] = flux[rows] * igm.damped_systems(rest[rows], reach, generator)
    return flux
