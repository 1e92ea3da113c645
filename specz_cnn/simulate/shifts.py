"""Velocity shifts of broad lines: what makes the redshift of a quasar a question of its lines.

The frame is that of the maximum of Mg II.  Lines of high ionisation move to the blue of it, each quasar by an amount
of its own, C IV the most; the library's lines hold only the mean (C IV 330 km/s to the blue of the nominal redshift, Mg II
90 km/s to the red, both nearly without scatter).  What is added here to every quasar is a smooth field of velocity over
rest wavelength: its size is a Gaussian core and an exponential tail to the blue, larger for weak lines and for luminous
quasars, hence for high redshifts; C IV becomes asymmetric with it, and He II weak.

References
----------
Richards G. T. et al. 2011, AJ 141, 167: C IV blueshifts of SDSS quasars, and their relation to equivalent width and He II.
Shen Y. et al. 2016, ApJ 831, 7: shifts and intrinsic scatter of all lines, dependence on luminosity.
Coatman L. et al. 2017, MNRAS 465, 2120: asymmetry.
Meyer R. A. et al. 2019, MNRAS 487, 3305; Schindler J.-T. et al. 2020, ApJ 905, 51: growth with redshift to z > 6.
Rankine A. L. et al. 2020, MNRAS 492, 4553; Temple M. J. et al. 2023, MNRAS 523, 646: C IV against luminosity, He II.
Diamond-Stanic A. M. et al. 2009, ApJ 699, 782; Banados E. et al. 2014, AJ 148, 14: quasars with weak lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from specz_cnn.simulate.bank import BANK_STEP, Bank
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["CIV", "LineShifts", "civ_equivalent_width", "draw_shifts"]

#: Vacuum wavelength of C IV in Angstrom, from which its velocities are counted.
CIV = 1549.06

#: Nodes of the field: rest wavelength (Angstrom), share of C IV's shift, scatter of its own (km/s).
_NODES = (
    (500.0, 0.7, 0.0),
    (1033.8, 0.7, 200.0),  # O VI
    (1180.0, 0.6, 0.0),
    (1215.67, 0.5, 150.0),  # Lyman alpha
    (1240.8, 0.65, 200.0),  # N V
    (1305.4, 0.35, 150.0),  # O I
    (1335.3, 0.4, 150.0),
    (1399.4, 0.65, 200.0),  # Si IV
    (1480.0, 0.85, 0.0),
    (1549.1, 1.0, 0.0),  # C IV
    (1640.4, 0.9, 300.0),  # He II
    (1750.0, 0.5, 0.0),
    (1857.8, 0.4, 150.0),  # Al III
    (1908.0, 0.45, 150.0),  # C III] blend
    (2077.0, 0.2, 100.0),
    (2350.0, 0.0, 50.0),
    (2600.0, 0.0, 0.0),  # Mg II and everything redder: the frame itself
    (12000.0, 0.0, 0.0),
)
_LOW, _HIGH = 25700.0, 40400.0  # range of the field, log10(wavelength) in units of 1e-4
_KMS_PER_LATTICE = 1e-4 * np.log(10.0) * SPEED_OF_LIGHT
_CORE = 250.0  # km/s: width of the Gaussian part at C IV
_LARGEST = 6000.0  # km/s: no field beyond
#: Mean of the exponential tail at C IV (km/s), added to the 420 km/s between the library's C IV and Mg II.
_TAIL_Z = (0.0, 1.5, 2.5, 3.5, 4.5, 6.0, 7.1)
_TAIL = (300.0, 420.0, 520.0, 560.0, 620.0, 950.0, 1200.0)
#: Wavelengths (Angstrom) of what is nearly continuum, to the blue and to the red of C IV and He II.
_SIDES_OF_CIV = (1450.0, 1465.0, 1690.0, 1700.0)
#: Share of quasars with weak lines.
_WEAK_Z, _WEAK = (0.0, 3.0, 4.5, 5.7, 7.1), (0.015, 0.02, 0.06, 0.11, 0.12)


@dataclass(frozen=True)
class LineShifts:
    """The velocity fields of a batch of quasars, and what goes with them.

    Attributes
    ----------
    civ : `torch.Tensor`, shape (batch, 1)
        Velocity added at C IV in km/s, negative to the blue.
    nodes : `torch.Tensor`, shape (batch, n_nodes)
        Coefficients of the fields.
    strength : `torch.Tensor`, shape (batch, 1)
        Factor on the ultraviolet lines: below one for quasars with weak lines.
    """

    civ: torch.Tensor
    nodes: torch.Tensor
    strength: torch.Tensor

    def source(self, position):
        """Where the lines that are seen at a rest-frame position come from.

        Parameters
        ----------
        position : `torch.Tensor`, shape (batch, n_pixels)
            log10(rest wavelength) in units of 1e-4.
        """
        field, _ = _fields(position.device)
        return position - field.observe(self.nodes @ field.values, position) / _KMS_PER_LATTICE

    def factor(self, position):
        """Factor on lines over continuum: He II fades with the shift of C IV, all of the ultraviolet in weak-lined ones."""
        _, windows = _fields(position.device)
        helium = 0.75 * (1 - torch.exp(self.civ.clamp(max=0) / 1500.0))
        coefficients = torch.cat([helium, 1 - self.strength], 1)
        return 1 - windows.observe(coefficients @ windows.values, position)

    def __getitem__(self, rows):
        return LineShifts(self.civ[rows], self.nodes[rows], self.strength[rows])


@cache
def _fields(device):
    """Basis of the velocity field, one row a node and a last one for the blue wing of C IV; windows of `factor`."""
    position = np.arange(_LOW, _HIGH, BANK_STEP)
    x = np.log10([node[0] for node in _NODES]) * 1e4
    rows = [np.interp(position, x, row) for row in np.eye(len(_NODES))]
    velocity = (position - 1e4 * np.log10(CIV)) * _KMS_PER_LATTICE
    wing = np.clip(-velocity / 4000.0, 0, 1) * np.clip((velocity + 16000.0) / 8000.0, 0, 1)
    kernel = np.hanning(21)  # no kinks
    smooth = [
        np.convolve(np.pad(row, 10, mode="edge"), kernel / kernel.sum(), "valid") for row in (*rows, wing)
    ]
    wavelength = 10 ** (1e-4 * position)
    windows = [
        np.exp(-0.5 * ((wavelength - 1645.0) / 22.0) ** 4),
        1 / (1 + np.exp((wavelength - 2050.0) / 40.0)),
    ]
    return tuple(
        Bank(torch.from_numpy(np.array(values, np.float32)).to(device), _LOW) for values in (smooth, windows)
    )


def civ_equivalent_width(profile, n, device=None):
    """Equivalent width of C IV in Angstrom, over the level of the flux on both sides of the line.

    Parameters
    ----------
    profile : callable
        Gives the flux, of any scale, at positions of shape (n, n_positions), in the same shape.
    n : int
        Number of quasars.
    device : `torch.device`, optional

    Returns
    -------
    `torch.Tensor`, shape (n, 1)
    """
    sides = 1e4 * torch.log10(torch.tensor(_SIDES_OF_CIV, device=device))
    level = profile(sides.expand(n, -1)).mean(1, keepdim=True).clamp(min=1e-3)
    velocity = torch.linspace(-9000.0, 7000.0, 33, device=device)
    position = 1e4 * np.log10(CIV) + velocity / _KMS_PER_LATTICE
    excess = profile(position.expand(n, -1)).mean(1, keepdim=True) / level - 1
    return excess * (16000.0 / SPEED_OF_LIGHT * CIV)


def draw_shifts(z, width, generator, config):
    """Shifts of the lines of quasars.

    Parameters
    ----------
    z : `torch.Tensor`, shape (batch, 1)
    width : `torch.Tensor`, shape (batch, 1)
        Equivalent width of C IV in Angstrom.
    generator : `torch.Generator`
    config : SimulationConfig

    Returns
    -------
    LineShifts
    """
    device, size = z.device, (z.shape[0], 1)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device=device)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, device=device)

    weak = uniform(*size) < _interpolate(z, _WEAK_Z, _WEAK) * float(config.weak_lines)
    strength = torch.where(weak, 0.05 + 0.35 * uniform(*size), 1.0)
    civ = torch.zeros(size, device=device)
    nodes = torch.zeros(size[0], len(_NODES) + 1, device=device)
    if config.line_shifts:
        # Weak lines and luminous quasars are shifted the most; luminosity scatters about that of its redshift.
        narrow = (torch.log(width.clamp(min=3.0) / 30.0) / 0.5).clamp(-2.0, 2.0)
        mean = _interpolate(z, _TAIL_Z, _TAIL) * torch.exp(-0.6 * narrow + 0.35 * normal(*size))
        mean = mean + torch.where(weak, 1000.0, 0.0)
        civ = _CORE * normal(*size) + mean * torch.log(uniform(*size).clamp(min=1e-6))
        civ = civ.clamp(-_LARGEST, 0.25 * _LARGEST)
        table = torch.tensor(_NODES, dtype=torch.float32, device=device)
        nodes[:, :-1] = civ * table[:, 1] + table[:, 2] * normal(size[0], len(_NODES))
        nodes[:, -1:] = 0.7 * uniform(*size) * civ.clamp(max=0)
    return LineShifts(civ, nodes, strength)


def _interpolate(z, x, y):
    return torch.from_numpy(np.interp(z.cpu().numpy(), x, y).astype(np.float32)).to(z.device)
