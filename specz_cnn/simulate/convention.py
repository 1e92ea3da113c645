"""What redshift SDSS would give to a noise-free spectrum.

The lines of a quasar are shifted against each other by hundreds of km/s, so that "the" redshift is a convention.  That
of SDSS is the shift at which four eigenspectra of quasars and a polynomial fit best (Bolton A. S. et al. 2012, AJ 144,
144): for all wavelengths in the pipeline (``Z_PIPE``), without the Lyman-alpha line and its forest in quasar catalogues
(Lyke B. W. et al. 2020, ApJS 250, 8: ``Z_LYAWG``).  The two differ by about 300 km/s where Lyman alpha is in view.
Labels of simulated spectra are made with the same fit, so that networks learn the convention with the spectra.

The zero point is another matter.  Simulated spectra are put together at a nominal redshift, for the lines of real quasars
that of GaSNet-III, from which the pipeline's differs by less than 30 km/s in the median; but the fit to a simulated
spectrum is off by up to 100 km/s (300 for parametric lines), since its continuum is not quite a real one.
`Convention` therefore subtracts the median of each kind of spectrum as a function of redshift.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from specz_cnn.io.grid import LATTICE_STEP
from specz_cnn.simulate.bank import BANK_STEP
from specz_cnn.simulate.quasars import quasar_spectra

__all__ = ["HIGHEST", "Convention", "eigenspectra_redshift"]

#: Above this redshift labels are left alone: the forest of the eigenspectra is that of lower redshifts, and there is
#: too little to the red of it.
HIGHEST = 3.5

_REACH = 26.0  # to either side, in units of 1e-4 of log10(wavelength): 1800 km/s
_FOREST_END = 1260.0  # Angstrom: redward wing of Lyman alpha
_N_POLYNOMIAL = 3
_LEAST = 200  # pixels that a fit needs
_ROWS = 16  # fitted at a time on a CPU, so that arrays stay in its cache
_CENTRES = np.linspace(0.1, HIGHEST - 0.1, 18)  # redshifts at which zero points are measured
_PER_CENTRE = 100


class Convention:
    """The labels of simulated quasars.

    Parameters
    ----------
    library : TemplateLibrary
    noise : `torch.Tensor`, shape (n, n_pixels)
        Inverse variances of real spectra.
    loglam : `torch.Tensor`, shape (n_pixels,)
        log10 wavelength in units of 1e-4.
    config : SimulationConfig
        What quasars are made with.
    """

    def __init__(self, library, noise, loglam, config):
        self._eigenspectra, self._loglam = library.quasars, loglam
        self._zero = {
            (kind, red): self._zero_points(library, noise, config, kind, red)
            for kind in (0, 2)  # archetypes are combinations of the eigenspectra: their zero point is right
            for red in (False, True)
        }

    def redshift(self, flux, ivar, z, kind, *, without_forest):
        """Labels of noise-free spectra that were made with redshift z.

        Parameters
        ----------
        flux, ivar : `torch.Tensor`, shape (batch, n_pixels)
        z : `torch.Tensor`, shape (batch,)
            Below `HIGHEST`.
        kind : `torch.Tensor` of int64, shape (batch,)
            See `specz_cnn.simulate.quasars.quasar_spectra`.
        without_forest : `torch.Tensor` of bool, shape (batch,)

        Returns
        -------
        `torch.Tensor`, shape (batch,)
        """
        label = eigenspectra_redshift(
            flux, ivar, z, self._eigenspectra, self._loglam, without_forest=without_forest
        )
        offset = torch.zeros_like(z, dtype=torch.float64)
        for (of_kind, red), points in self._zero.items():
            zero = torch.from_numpy(np.interp(z.cpu().numpy(), _CENTRES, points)).to(offset)
            offset = torch.where((kind == of_kind) & (without_forest == red), zero, offset)
        moved = torch.exp(torch.log1p(label.double()) - offset) - 1
        # Where the fit has failed, the nominal redshift is kept.
        return torch.where((label != z) & (moved > 0), moved, z.double()).to(z.dtype)

    def _zero_points(self, library, noise, config, kind, red):
        """Median of label - nominal redshift, less that of real quasars, in ln(1 + z) at the centres."""
        device = self._loglam.device
        generator = torch.Generator(device).manual_seed(kind + 10 * red)
        recipe = tuple(float(i == kind) for i in range(3))
        z = torch.from_numpy(np.repeat(_CENTRES, _PER_CENTRE).astype(np.float32)).to(device)
        z = z * (1 + 0.05 * torch.rand(z.shape, generator=generator, device=device))
        options = replace(
            config,
            recipe_weights=recipe,
            bal=False,
            associated_absorption=False,
            line_shifts=False,
            weak_lines=False,
        )
        flux, _, made = quasar_spectra(z, library, self._loglam, generator, options)
        ivar = noise[torch.randint(len(noise), z.shape, generator=generator, device=device)]
        flux, ivar, loglam = _paired(flux, ivar, self._loglam)
        fitted = eigenspectra_redshift(
            flux,
            ivar,
            z,
            library.quasars,
            loglam,
            without_forest=torch.full_like(z, red, dtype=torch.bool),
        )
        shift = torch.log1p(fitted.double()) - torch.log1p(z.double())
        found = (made == kind) & (fitted != z)
        groups = zip(shift.view(len(_CENTRES), -1), found.view(len(_CENTRES), -1), strict=True)
        points = np.array([_median(values[used]) for values, used in groups])
        if kind == 0:
            near = [(library.line_z - centre).abs() < _CENTRES[1] - _CENTRES[0] for centre in _CENTRES]
            points = points - np.array([_median(library.line_shift[used]) for used in near])
        return points


def _paired(flux, ivar, loglam):
    """Native pixels in pairs: a quarter of the time, and zero points (measured: of lines of real quasars) within 4 km/s."""
    if float(loglam[1] - loglam[0]) > 1.5:
        return flux, ivar, loglam
    n = len(loglam) // 2 * 2
    flux, ivar, loglam = (values[..., :n].unflatten(-1, (-1, 2)) for values in (flux, ivar, loglam))
    return flux.mean(-1), ivar.sum(-1), loglam.mean(-1)


def _median(values):
    """Median; 0 of nothing."""
    return float(np.median(values.cpu().numpy())) if len(values) else 0.0


def eigenspectra_redshift(flux, ivar, z, eigenspectra, loglam, *, without_forest):
    """Redshift at which eigenspectra and a quadratic polynomial fit best, near a known one.

    Parameters
    ----------
    flux, ivar : `torch.Tensor`, float32, shape (batch, n_pixels)
        Noise-free flux, and the weights of pixels.
    z : `torch.Tensor`, shape (batch,)
        Where to look: within 1800 km/s.
    eigenspectra : Bank
        A few spectra.
    loglam : `torch.Tensor`, shape (n_pixels,)
        log10 wavelength of the pixels in units of 1e-4, equidistant.
    without_forest : `torch.Tensor` of bool, shape (batch,)
        Leave out what is blueward of 1260 Angstrom at rest.

    Returns
    -------
    `torch.Tensor`, shape (batch,)
        ``z`` itself where the fit has no minimum within reach or too few pixels.
    """
    size = _ROWS if flux.device.type == "cpu" else max(len(z), 1)
    parts = zip(*(values.split(size) for values in (flux, ivar, z, without_forest)), strict=True)
    return torch.cat([_fitted(*part, eigenspectra, loglam) for part in parts])


def _fitted(flux, ivar, z, without_forest, eigenspectra, loglam):
    """`eigenspectra_redshift` of a few spectra."""
    n, n_pixels = flux.shape
    weight = torch.where(without_forest[:, None], ivar * (_rest(loglam, z) > _FOREST_END), ivar)
    used = weight > 0
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-30)
    flux = flux / (flux.abs() * used).sum(1, keepdim=True).clamp(min=1e-30) * used.sum(1, keepdim=True)
    templates, stride, reach, step = _windows(eigenspectra, z, loglam)
    x = torch.linspace(-1, 1, n_pixels, device=flux.device)
    fixed = torch.stack([x**k for k in range(_N_POLYNOMIAL)]).expand(n, -1, -1)
    fixed = torch.cat([fixed, flux[:, None]], 1)
    n_moved, n_shifts = templates.shape[1], 2 * reach + 1
    size = n_moved + fixed.shape[1]
    products = flux.new_empty(n, n_shifts, size, size, dtype=torch.float64)
    products[:, :, n_moved:, n_moved:] = ((fixed * weight[:, None]) @ fixed.transpose(1, 2))[:, None]
    for shift in range(n_shifts):
        # The templates move by one step to the red with each shift.
        start = 2 * reach - shift
        moved = templates[:, :, start : start + stride * n_pixels : stride].contiguous()
        weighted = moved * weight[:, None]
        products[:, shift, :n_moved, :n_moved] = weighted @ moved.transpose(1, 2)
        products[:, shift, :n_moved, n_moved:] = weighted @ fixed.transpose(1, 2)
    products[:, :, n_moved:, :n_moved] = products[:, :, :n_moved, n_moved:].transpose(2, 3)
    normal, right, total = products[..., :-1, :-1], products[..., :-1, -1:], products[..., -1, -1]
    scale = normal.diagonal(dim1=2, dim2=3).clamp(min=1e-30).rsqrt()
    normal = normal * scale[..., :, None] * scale[..., None, :]
    normal = normal + 1e-6 * torch.eye(size - 1, device=flux.device)
    right = right * scale[..., None]
    chi2 = total - (right * torch.linalg.solve(normal, right)).sum((2, 3))
    best = chi2.argmin(1)
    inner = best.clamp(1, 2 * reach - 1)
    below, here, above = (chi2.gather(1, (inner + k)[:, None])[:, 0] for k in (-1, 0, 1))
    curvature = below - 2 * here + above
    offset = (inner - reach) + (0.5 * (below - above) / curvature.clamp(min=1e-30)).clamp(-1, 1)
    found = (best == inner) & (curvature > 0) & (used.sum(1) >= _LEAST)
    moved = (1 + z.double()) * 10 ** (LATTICE_STEP * step * offset) - 1
    return torch.where(found & (moved > 0), moved, z.double()).to(z.dtype)


def _rest(loglam, z):
    return 10 ** (1e-4 * loglam)[None, :] / (1 + z[:, None])


def _windows(bank, z, loglam):
    """The part of each eigenspectrum that the pixels see, in fine steps, with room for the shifts.

    Returns
    -------
    `torch.Tensor`, shape (batch, n_spectra, n_steps), number of steps per pixel, of steps to either side, size of a step
    """
    pixel = float(loglam[1] - loglam[0])
    stride = max(round(pixel / BANK_STEP), 1)
    step = pixel / stride
    reach = round(_REACH / step)
    place = step * torch.arange(-reach, stride * len(loglam) + reach, device=loglam.device)
    first = loglam[0].double() - 1e4 * torch.log10(1 + z.double())
    position = (first[:, None] + place).float()
    rows = torch.arange(len(bank.values), device=loglam.device)
    windows = [bank.observe(row.expand(len(z)), position) for row in rows]
    return torch.stack(windows, 1), stride, reach, step
