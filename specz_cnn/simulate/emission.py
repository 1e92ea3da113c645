"""Parametric quasar emission lines: diversity that no template has.

References
----------
Strateva I. V. et al. 2003, AJ 126, 1720: Balmer lines with two peaks, as of a disk, in 3 % of AGN at z < 0.33.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from specz_cnn.simulate.bank import BANK_STEP, Bank
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["BROAD_LINES", "NARROW_LINES", "broad_line_bank", "double_peaked_lines", "narrow_line_bank"]

#: Broad lines: vacuum wavelength (A), median equivalent width (A), mean velocity of the line (km/s, negative is
#: blueshifted) relative to the pipeline redshift, its scatter (km/s), width relative to Mg II.  Equivalent widths after
#: Vanden Berk et al. 2001 (AJ 122, 549), shifts after Richards et al. 2011 (AJ 141, 167) and Shen et al. 2016
#: (ApJ 831, 7), counted from the pipeline's zero point, which lies to the blue of systemic for CIV-dominated spectra.
BROAD_LINES = {
    "OVI": (1033.8, 10.0, -200, 500, 1.2),
    "Lya": (1215.67, 75.0, 0, 300, 1.0),
    "NV": (1240.8, 15.0, -200, 500, 1.4),
    "SiII": (1262.6, 2.0, 0, 300, 1.0),
    "OI": (1305.4, 2.5, 0, 300, 0.9),
    "CII": (1335.3, 0.8, 0, 300, 0.9),
    "SiIV": (1399.4, 9.0, -100, 500, 1.4),
    "CIV": (1549.1, 30.0, -150, 500, 1.3),
    "HeII": (1640.4, 5.0, -100, 700, 1.9),
    "OIII]": (1664.0, 1.5, 0, 400, 1.2),
    "AlIII": (1857.8, 2.0, -100, 400, 1.2),
    "SiIII]": (1892.0, 3.0, 0, 300, 1.2),
    "CIII]": (1908.1, 20.0, -150, 400, 1.5),
    "FeIII": (2077.0, 3.0, 0, 500, 2.5),
    "CII]": (2326.4, 2.5, 0, 400, 1.5),
    "MgII": (2799.1, 32.0, 50, 250, 1.0),
    "OIII3133": (3133.0, 2.0, 0, 300, 0.9),
    "Hd": (4102.9, 5.0, 0, 250, 1.1),
    "Hg": (4341.7, 12.0, 0, 250, 1.1),
    "FeII4570": (4570.0, 15.0, 0, 500, 4.0),
    "Hb": (4862.7, 46.0, 0, 250, 1.1),
    "FeII5250": (5270.0, 15.0, 0, 500, 4.0),
    "HeI": (5877.3, 5.0, 0, 300, 1.1),
    "Ha": (6564.6, 195.0, 0, 250, 1.0),
}

#: Narrow lines: vacuum wavelength (A) and strength relative to [OIII] 5008 (Vanden Berk et al. 2001, table 2).
NARROW_LINES = {
    "[NeV]": (3426.8, 0.15),
    "[OII]": (3729.0, 0.25),
    "[NeIII]": (3869.8, 0.15),
    "Hd": (4102.9, 0.03),
    "Hg": (4341.7, 0.07),
    "[OIII]4364": (4364.4, 0.06),
    "Hb": (4862.7, 0.12),
    "[OIII]4960": (4960.3, 0.335),
    "[OIII]5008": (5008.2, 1.0),
    "[OI]": (6302.0, 0.08),
    "[NII]6549": (6549.9, 0.12),
    "Ha": (6564.6, 0.45),
    "[NII]6585": (6585.3, 0.36),
    "[SII]6718": (6718.3, 0.14),
    "[SII]6732": (6732.7, 0.13),
}

#: Balmer lines of a disk: vacuum wavelength (A) and equivalent width relative to that of the first.
_DISK_LINES = (6564.6, 1.0), (4862.7, 0.28), (4341.7, 0.1)

_KMS_PER_LATTICE = 1e-4 * np.log(10.0) * SPEED_OF_LIGHT


def _add_gaussian(row, start, wavelength, velocity, sigma_kms, peak):
    centre = (1e4 * np.log10(wavelength) + velocity / _KMS_PER_LATTICE - start) / BANK_STEP
    sigma = sigma_kms / _KMS_PER_LATTICE / BANK_STEP
    low, high = max(0, int(centre - 4 * sigma)), min(row.size, int(centre + 4 * sigma) + 2)
    if low < high:
        x = np.arange(low, high) - centre
        row[low:high] += peak * np.exp(-0.5 * (x / sigma) ** 2)


def broad_line_bank(rng, n_rows, *, low=25700, high=40300):
    """Spectra of broad lines over a continuum of one (the continuum itself is not included).

    Equivalent widths scatter log-normally by 0.45 together and 0.3 line by line; widths (FWHM of Mg II) log-normally
    around 4500 km/s; each line is a core and a broader base.

    Parameters
    ----------
    rng : `numpy.random.Generator`
    n_rows : int
    low, high : float
        Range in log10(wavelength) in units of 1e-4.

    Returns
    -------
    Bank
    """
    rows = np.zeros((n_rows, int((high - low) / BANK_STEP)))
    for row in rows:
        fwhm = np.exp(rng.normal(np.log(4500.0), 0.4))
        strength = np.exp(rng.normal(-0.1, 0.4))
        blueshift = abs(rng.normal(0, 1.0)) * 0.6  # high-ionisation lines move together
        for wavelength, ew, shift, scatter, width in BROAD_LINES.values():
            amount = ew * strength * np.exp(rng.normal(-0.05, 0.3))
            velocity = shift * 2 * blueshift + rng.normal(0, 0.5 * scatter)
            base = rng.uniform(0.2, 0.7)
            for part, broad in ((1 - base, 0.6), (base, 1.6)):
                sigma = fwhm * width * broad * np.exp(rng.normal(0, 0.15)) / 2.3548
                peak = amount * part / (np.sqrt(2 * np.pi) * sigma / SPEED_OF_LIGHT * wavelength)
                _add_gaussian(row, low, wavelength, velocity * (1.4 if broad > 1 else 0.8), sigma, peak)
    return _bank(rows, low)


def double_peaked_lines(rest, generator):
    """Balmer lines of rotating disks over a continuum of one (the continuum itself is not included).

    The peaks lie 1500 to 5000 km/s to either side, the blue one, which comes towards us, brighter by up to a half, and both
    a few hundred km/s off the redshift; the equivalent width of H alpha is 100 to 500 Angstrom.

    Parameters
    ----------
    rest : `torch.Tensor`, shape (batch, n_pixels)
        Rest-frame wavelength in Angstrom.
    generator : `torch.Generator`

    Returns
    -------
    `torch.Tensor`, shape (batch, n_pixels)
    """
    size, device = (len(rest), 1), rest.device

    def uniform(low, high):
        return low + (high - low) * torch.rand(size, generator=generator, device=device)

    width, apart, boost = 100.0 * torch.exp(uniform(0.0, 1.6)), uniform(1500.0, 5000.0), uniform(1.0, 1.5)
    middle = 400.0 * torch.randn(size, generator=generator, device=device)
    sigma = apart * uniform(0.35, 0.7)
    lines = torch.zeros_like(rest)
    for wavelength, strength in _DISK_LINES:
        velocity = SPEED_OF_LIGHT * torch.log(rest / wavelength) - middle
        blue, red = (torch.exp(-0.5 * ((velocity + side * apart) / sigma) ** 2) for side in (1, -1))
        area = (1 + boost) * math.sqrt(2 * math.pi) * sigma / SPEED_OF_LIGHT * wavelength
        lines += strength * width / area * (boost * blue + red)
    return lines


def narrow_line_bank(rng, n_rows, *, low=34700, high=38600):
    """Spectra of narrow lines with [OIII] 5008 of equivalent width 1 A over a continuum of one."""
    rows = np.zeros((n_rows, int((high - low) / BANK_STEP)))
    for row in rows:
        sigma = np.hypot(np.exp(rng.normal(np.log(180.0), 0.35)), 80.0)  # with the pixel's own width
        excitation = rng.normal(0, 0.7)
        for name, (wavelength, strength) in NARROW_LINES.items():
            amount = strength * np.exp(rng.normal(0, 0.3) + (0 if name.startswith("[OIII]") else excitation))
            _add_gaussian(
                row,
                low,
                wavelength,
                0.0,
                sigma,
                amount / (np.sqrt(2 * np.pi) * sigma / SPEED_OF_LIGHT * wavelength),
            )
    return _bank(rows, low)


def _bank(rows, low):
    return Bank(torch.from_numpy(rows.astype(np.float32)), float(low))
