"""A compact bank of our own: everything the simulation draws from, made from formulae and published numbers.

It takes the place of the templates of `load_templates` where there are none, so that simulating and training need nothing
but the package.  Quasars have the broad and narrow lines of :mod:`specz_cnn.simulate.emission`, blends of iron and the
Balmer continuum; stars and galaxies come from :mod:`specz_cnn.simulate.stars`; redshifts and S/N follow rounded quantiles of
DR16's quasars (Lyke B. W. et al. 2020, ApJS 250, 8).  Forest, proximity zone, damped systems, broad absorption, dust and
everything else are those of the full simulation.

What it lacks is the diversity of real quasars, so that networks trained on it are worse than those trained on the full
bank; the documentation says by how much.

References
----------
Vanden Berk D. E. et al. 2001, AJ 122, 549: equivalent widths, iron and Balmer emission of the mean quasar.
Vestergaard M., Wilkes B. J. 2001, ApJS 134, 1: blends of ultraviolet iron lines.
Boroson T. A., Green R. F. 1992, ApJS 80, 109: optical iron, and that it is weak where [O III] is strong.
Grandi S. A. 1982, ApJ 255, 25: the Balmer continuum.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from specz_cnn.simulate.bank import BANK_STEP, Bank, resample_rows
from specz_cnn.simulate.emission import broad_line_bank, narrow_line_bank
from specz_cnn.simulate.stars import galaxy_components, star_rows
from specz_cnn.simulate.templates import TemplateLibrary

__all__ = ["compact_library"]

#: Blends of iron: centre and Gaussian width (Angstrom), height relative to the continuum in the mean quasar.
_ULTRAVIOLET_IRON = (
    (1785.0, 25.0, 0.03), (2065.0, 45.0, 0.08), (2160.0, 50.0, 0.06), (2250.0, 45.0, 0.10), (2330.0, 45.0, 0.17),
    (2395.0, 45.0, 0.26), (2470.0, 45.0, 0.26), (2545.0, 45.0, 0.24), (2612.0, 40.0, 0.20), (2680.0, 50.0, 0.11),
    (2750.0, 45.0, 0.12), (2860.0, 45.0, 0.11), (2945.0, 50.0, 0.11), (3030.0, 60.0, 0.06), (3190.0, 70.0, 0.09),
)  # fmt: skip
_OPTICAL_IRON = (
    (4180.0, 45.0, 0.04), (4300.0, 40.0, 0.03), (4495.0, 45.0, 0.09), (4570.0, 40.0, 0.10), (4640.0, 35.0, 0.07),
    (4930.0, 35.0, 0.04), (5015.0, 35.0, 0.05), (5175.0, 30.0, 0.07), (5235.0, 35.0, 0.09), (5300.0, 40.0, 0.09),
    (5375.0, 40.0, 0.06), (6200.0, 70.0, 0.02),
)  # fmt: skip

# Quantiles of the redshifts and of the median S/N per pixel of DR16's quasars, rounded.
_QUANTILE = np.array([0, 1, 2.5, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 97.5, 99, 99.7, 100]) / 100
_REDSHIFT = [
    0.03,
    0.37,
    0.52,
    0.62,
    0.78,
    1.03,
    1.22,
    1.41,
    1.63,
    1.86,
    2.13,
    2.39,
    2.76,
    3.08,
    3.43,
    4.0,
    5.0,
    6.0,
]
_SNR = [0.3, 0.6, 0.8, 1.0, 1.3, 1.7, 2.1, 2.5, 3.1, 3.8, 4.8, 6.5, 9.8, 13, 17, 23, 32, 48]

_LOW, _HIGH = 31500.0, 40350.0  # of stars and galaxies; a galaxy at z = 1 is seen from 1700 Angstrom on


@lru_cache(maxsize=2)
def compact_library(*, smooth=4.0, seed=0, n_quasars=1500):
    """Everything the simulator draws from, made on the spot in a few seconds and kept.

    Parameters
    ----------
    smooth : float
        Width of the pixels that will look at the templates, in native SDSS pixels.
    seed : int
    n_quasars : int
        Spectra of broad lines.

    Returns
    -------
    TemplateLibrary
        Its quasars are parametric (``recipe_weights = (0, 0, 1)``), made at their systemic redshift.  In place of real
        quasars and archetypes there is the mean of the lines.
    """
    rng = np.random.default_rng(seed)
    broad = _with_iron(broad_line_bank(rng, n_quasars), rng)
    mean = Bank(broad.values.mean(0, keepdim=True), broad.start)
    n = 15_000
    z = np.interp((np.arange(n) + 0.5) / n, _QUANTILE, _REDSHIFT)
    snr = rng.permutation(np.exp(np.interp((np.arange(n) + 0.5) / n, _QUANTILE, np.log(_SNR))))
    loglam = np.arange(_LOW, _HIGH)
    wavelength = 10 ** (1e-4 * loglam)
    # Stars move by a few km/s within a pixel of their own; a galaxy's lines are as wide as its stars are fast.
    stars = _scaled(resample_rows(loglam, star_rows(wavelength, rng), smooth=smooth))
    galaxies = resample_rows(loglam, _dispersed(galaxy_components(wavelength)), smooth=smooth)
    return TemplateLibrary(
        line_basis=mean,
        line_coefficients=torch.ones((n, 1)),
        line_z=_tensor(z),
        line_snr=_tensor(snr),
        line_shift=torch.zeros(n),
        archetypes=_with_continuum(mean),
        broad=broad,
        narrow=narrow_line_bank(rng, 300),
        galaxies=galaxies,
        galaxy_coefficients=_tensor(_galaxy_mixtures(rng)),
        stars=stars,
        quasars=_principal(_with_continuum(broad)),
    )


def _tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _wavelength(bank):
    return 10 ** (1e-4 * (bank.start + BANK_STEP * np.arange(bank.values.shape[1])))


def _with_iron(bank, rng):
    """Lines with iron and the Balmer continuum, each of its own strength in every quasar."""
    wavelength = _wavelength(bank)
    rows = bank.values.numpy()
    shapes = []
    for blends in (_ULTRAVIOLET_IRON, _OPTICAL_IRON):
        centre, sigma, height = (np.array(column)[:, None] for column in zip(*blends, strict=True))
        shapes.append(height * np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2))
    limit = np.where(wavelength < 3646, (1 - np.exp(-((wavelength / 3646) ** 3))) * _glow(wavelength), 0.0)
    # Beyond the limit the higher Balmer lines merge into a slope.
    limit = np.where(wavelength >= 3646, limit.max() * np.exp(-(wavelength - 3646) / 90.0), limit)
    limit = 0.18 * limit / limit.max()
    n = len(rows)
    strength = np.exp(rng.normal(0, 0.45, (n, 1)))
    amounts = np.hstack(
        [
            0.5 * strength * np.exp(rng.normal(0, 0.2, (n, len(_ULTRAVIOLET_IRON)))),
            strength * np.exp(rng.normal(0, 0.4, (n, 1)) + rng.normal(0, 0.2, (n, len(_OPTICAL_IRON)))),
            np.exp(rng.normal(-0.1, 0.5, (n, 1))),
        ]
    )
    shapes = np.vstack([*shapes, limit])
    return Bank(_tensor(rows + amounts.astype(np.float32) @ shapes.astype(np.float32)), bank.start)


def _glow(wavelength):
    """Emission of gas of 15,000 K over a power law of slope -1.56, in arbitrary units."""
    return (wavelength / 3000.0) ** (1.56 - 5) / np.expm1(1.4388e8 / 15_000 / wavelength)


def _with_continuum(bank):
    wavelength = _wavelength(bank)
    power = np.where(wavelength < 5000, (wavelength / 5000) ** -1.56, (wavelength / 5000) ** 0.2)
    power = power * np.minimum(wavelength / 1180, 1.0) ** 0.8
    return Bank(_tensor((1 + bank.values.numpy()) * power), bank.start)


def _principal(bank, n=4):
    """Mean and the first principal components, each of mean absolute value one."""
    rows = bank.values.numpy().astype(np.float64)
    rows = rows[:200] / np.abs(rows[:200]).mean(1, keepdims=True)
    mean = rows.mean(0)
    components = np.linalg.svd(rows - mean, full_matrices=False)[2][: n - 1]
    rows = np.vstack([mean, components])
    return Bank(_tensor(rows / np.abs(rows).mean(1, keepdims=True)), bank.start)


def _dispersed(rows, sigma=170.0):
    """Spectra on native pixels smoothed by a velocity dispersion (km/s)."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(rows, sigma / 69.03, axis=1)


def _scaled(bank):
    return Bank(bank.values / bank.values.abs().mean(1, keepdim=True), bank.start)


def _galaxy_mixtures(rng, n=4000):
    """Shares of the populations in galaxies from passive to star-forming, with gas where stars are young."""
    young = rng.beta(0.6, 1.2, n)
    old = rng.dirichlet((0.6, 1.0, 2.5), n) * (1 - young[:, None])
    gas = young * np.exp(rng.normal(-0.3, 0.8, n)) + 0.05 * rng.exponential(0.5, n)
    return np.column_stack([young, old, gas])
