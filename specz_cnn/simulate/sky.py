"""Noise from a model of the night sky, the throughput of the spectrographs and their detectors.

For those who have no file of real inverse variances.  A spectrum is counted in electrons: sky continuum, moonlight, the
lines of the night sky and the object itself, through a throughput with atmosphere, dichroic and ends, plus read-out noise of
several exposures.  The inverse variance of the flux follows.

References
----------
Smee S. A. et al. 2013, AJ 146, 32: throughput, coverage and read-out noise of the SDSS and BOSS spectrographs.
Osterbrock D. E. et al. 1996, PASP 108, 277: lines of the night sky.
Hanuschik R. W. 2003, A&A 407, 1157: the same, with fluxes.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["model_noise"]

#: Night-sky lines: vacuum wavelength (A), relative brightness.
_CITY_AND_OXYGEN = (
    (4047.8, 0.8), (4359.6, 1.6), (5462.3, 1.6), (5578.9, 22.0), (5684.0, 0.4), (5891.6, 3.0), (5897.6, 1.8),
    (6302.0, 9.0), (6365.5, 3.0), (5200.0, 0.6),
)  # fmt: skip
#: OH bands: the lines of each, from the Q branch on.
_OH_LINES = (
    (6259.6, 0.6), (6288.9, 0.6), (6308.7, 0.4), (6500.5, 0.6), (6535.0, 0.9), (6555.4, 0.6), (6579.0, 0.5),
    (6831.2, 0.7), (6843.8, 0.6), (6865.9, 2.4), (6873.0, 0.6), (6881.1, 1.0), (6891.3, 0.5), (6902.6, 0.8),
    (6914.5, 0.5), (6925.1, 1.6), (6941.4, 0.8), (6980.4, 0.5), (7246.6, 0.8), (7278.3, 2.4), (7286.0, 0.8),
    (7298.0, 0.8), (7305.7, 0.6), (7318.3, 2.6), (7331.2, 1.6), (7342.9, 2.8), (7360.7, 0.6), (7371.2, 1.8),
    (7394.2, 0.6), (7403.7, 1.2), (7440.0, 0.4), (7526.2, 1.4), (7573.8, 1.2), (7588.0, 0.5), (7714.0, 1.2),
    (7718.3, 0.8), (7726.8, 1.0), (7752.7, 4.0), (7761.9, 1.2), (7775.0, 1.2), (7782.4, 1.0), (7796.3, 4.2),
    (7810.7, 2.0), (7823.5, 3.6), (7843.4, 2.2), (7851.9, 1.0), (7855.4, 2.0), (7870.7, 1.2), (7892.8, 0.9),
    (7915.9, 4.4), (7921.1, 1.2), (7951.4, 1.0), (7966.9, 4.0), (7980.0, 1.0), (7995.5, 4.4), (8016.5, 1.4),
    (8027.9, 2.2), (8064.3, 1.8), (8104.8, 0.7), (8141.0, 0.5), (8283.0, 1.0), (8290.6, 1.0), (8301.0, 1.4),
    (8313.0, 1.2), (8346.9, 4.2), (8355.1, 1.3), (8367.3, 1.5), (8384.7, 2.2), (8401.5, 5.2), (8417.4, 2.3),
    (8432.5, 4.8), (8454.7, 2.4), (8467.7, 3.2), (8477.0, 0.8), (8495.7, 2.4), (8507.0, 2.0), (8540.9, 1.4),
    (8551.0, 1.2), (8570.8, 0.8), (8590.9, 0.6), (8651.0, 0.9), (8657.8, 1.4), (8704.0, 0.6), (8763.1, 1.4),
    (8770.2, 3.4), (8780.7, 3.0), (8793.6, 4.4), (8812.2, 2.0), (8829.5, 5.4), (8838.6, 4.4), (8852.5, 5.0),
    (8870.1, 2.2), (8888.3, 5.6), (8905.6, 4.6), (8922.1, 4.8), (8945.9, 3.2), (8960.6, 4.4), (8990.9, 3.2),
    (9003.9, 1.8), (9023.0, 0.9), (9040.6, 0.9), (9052.2, 1.2), (9105.3, 0.8), (9152.0, 1.0), (9210.0, 0.9),
    (9226.0, 1.4), (9308.0, 1.6), (9316.0, 2.4), (9326.6, 2.0), (9340.5, 3.2), (9351.5, 1.6), (9378.5, 5.4),
    (9385.0, 1.2), (9399.9, 3.4), (9422.4, 4.4), (9442.3, 4.6), (9461.2, 3.4), (9479.5, 3.6), (9505.5, 3.0),
    (9522.6, 2.6), (9541.0, 1.6), (9555.1, 3.6), (9570.1, 2.6), (9610.4, 2.8), (9623.0, 1.6), (9670.0, 1.4),
    (9696.0, 1.6), (9704.0, 2.2), (9722.5, 3.6), (9742.7, 3.4), (9758.0, 2.6), (9794.0, 5.2), (9803.2, 4.6),
    (9818.0, 3.6), (9840.0, 2.4), (9876.0, 5.4), (9885.0, 1.6), (9917.4, 5.0), (9955.0, 2.2), (10005.0, 2.0),
    (10015.0, 4.4), (10050.0, 1.4), (10085.0, 6.0), (10127.0, 5.0), (10174.0, 4.2), (10215.0, 3.6),
    (10276.0, 5.2), (10289.0, 4.4), (10304.0, 3.4), (10330.0, 3.6), (10360.0, 4.2), (10380.0, 4.4),
    (10395.0, 3.8), (10420.0, 4.2), (10455.0, 3.8), (10492.0, 3.6),
)  # fmt: skip

#: Absorption by the air: centre (A), width to either side, depth at the zenith.
_TELLURIC = (
    (6880.0, 18, 0.20),
    (7620.0, 30, 0.45),
    (7240.0, 60, 0.10),
    (8200.0, 70, 0.10),
    (9400.0, 140, 0.35),
)

_AREA = 3.6e4  # cm2: 2.5 m, less the obscuration
_ERG_PER_PHOTON = 1.98645e-8  # times 1 / wavelength in Angstrom
_UNIT = 1e-17  # erg / (s cm2 Angstrom)


def _edge(wavelength, at, width):
    return 1.0 / (1.0 + np.exp(-np.clip((wavelength - at) / width, -60, 60)))


def _throughput(wavelength, *, boss):
    """Of telescope, fibre, spectrograph and detector."""
    blue_end, red_end = (3600.0, 10350.0) if boss else (3820.0, 9210.0)
    blue = 0.24 * _edge(wavelength, blue_end + 400, 230) * _edge(-wavelength, -5850, 120)
    red = 0.26 * _edge(wavelength, 6080, 110) * _edge(-wavelength, -(red_end - 850), 420)
    curve = (blue + red) * (1.0 if boss else 0.75)
    return np.where((wavelength > blue_end) & (wavelength < red_end), curve + 0.004, 0.0)


def _sky(wavelength, rng, *, boss):
    """Brightness of the sky in a fibre, 1e-17 erg / (s cm2 Angstrom)."""
    area = 3.14 if boss else 7.07  # square arcsec
    dark = 0.75 + 0.45 * (wavelength / 6000.0 - 1) + 2.6 * _edge(wavelength, 8700, 500)
    moon = rng.exponential(0.25) * (wavelength / 4500.0) ** -1.5
    sky = area * (dark * np.exp(rng.normal(0, 0.15)) + moon)
    resolution = 1.6e-4  # Gaussian width over wavelength
    oh, other = np.exp(rng.normal(0, 0.35)), np.exp(rng.normal(0, 0.35, len(_CITY_AND_OXYGEN)))
    lines = [(line, oh * strength) for line, strength in _OH_LINES]
    lines += [
        (line, factor * strength) for (line, strength), factor in zip(_CITY_AND_OXYGEN, other, strict=True)
    ]
    for line, strength in lines:
        width = resolution * line * (1.3 if line < 6000 else 1.0)
        low, high = np.searchsorted(wavelength, (line - 5 * width, line + 5 * width))
        part = wavelength[low:high]
        sky[low:high] += area * 5.0 * strength * np.exp(-0.5 * ((part - line) / width) ** 2)
    return sky


def _inverse_variance(wavelength, rng):
    """Of one spectrum on native pixels, zero where there is none."""
    boss = rng.random() < 0.75
    throughput = _throughput(wavelength, boss=boss)
    for centre, width, depth in _TELLURIC:
        throughput = throughput * (1 - depth * np.exp(-0.5 * ((wavelength - centre) / width) ** 2))
    # Atmospheric dispersion and extinction take from the blue, more at high air mass.
    throughput = throughput * (wavelength / 6500.0) ** rng.uniform(0.0, 0.7)
    n_exposures = int(rng.integers(3, 9))
    seconds = 900.0 * n_exposures
    step = wavelength * 1e-4 * np.log(10.0)
    gain = _UNIT * throughput * _AREA * seconds * step * wavelength / _ERG_PER_PHOTON
    source = np.exp(rng.normal(0.7, 0.9)) * (wavelength / 5500.0) ** rng.uniform(-1.8, 0.0)
    electrons = gain * (_sky(wavelength, rng, boss=boss) + source)
    read_out = n_exposures * 3.0 * (2.0 if boss else 4.0) ** 2 * np.where(wavelength < 6000, 1.0, 1.8)
    with np.errstate(divide="ignore", invalid="ignore"):
        ivar = np.where(throughput > 0, gain**2 / (electrons + read_out), 0.0)
    # Bright lines are masked now and then, and single pixels everywhere.
    bright = electrons > 8 * np.median(electrons[throughput > 0])
    lost = rng.random(wavelength.size) < np.where(bright, 0.04, 0.004)
    return np.where(lost, 0.0, ivar)


def model_noise(grid, *, n=400, seed=0):
    """Inverse variances of simulated exposures on a model grid, in the form of `~specz_cnn.simulate.observe.load_noise`.

    Parameters
    ----------
    grid : ModelGrid
    n : int
        How many.
    seed : int

    Returns
    -------
    `torch.Tensor`, float32, shape (n, n_pixels)
        Normalised to a mean of one over pixels with data.
    """
    rng = np.random.default_rng(seed)
    loglam = 1e-4 * np.arange(35400, 40400)
    rows = []
    for _ in range(n):
        ivar = _inverse_variance(10**loglam, rng)
        values = grid.rebin(loglam, np.zeros(loglam.size), ivar)[1]
        rows.append(values / values[values > 0].mean())
    return torch.from_numpy(np.asarray(rows, np.float32))
