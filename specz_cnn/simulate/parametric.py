"""Parametric quasars that need no templates: the packaged example, and spectra for tests.

The lines are those of :mod:`specz_cnn.simulate.emission`, the continuum is a power law, the forest that of
:mod:`specz_cnn.simulate.igm`, and the noise a smooth curve shaped like a BOSS exposure with its sky lines.
"""

from __future__ import annotations

import numpy as np
import torch

from specz_cnn.io import SpectrumArrays
from specz_cnn.io.grid import ModelGrid
from specz_cnn.simulate.emission import broad_line_bank
from specz_cnn.simulate.igm import forest_transmission, lyman_limit
from specz_cnn.simulate.observe import lattice_positions

__all__ = ["EXAMPLE_FILE", "example_spectrum", "write_example"]

#: The packaged example; its plate, MJD and fibre do not belong to any SDSS observation.
EXAMPLE_FILE = "example-spec.fits"

_GRID = ModelGrid(start=35530, factor=1, n_pixels=4620)
_SKY_LINES = (
    5578.5,
    5891.6,
    6302.0,
    6365.5,
    6865.7,
    7278.3,
    7753.0,
    7996.0,
    8346.0,
    8430.0,
    8887.0,
    9379.0,
    10015.0,
)


def _noise(wavelength):
    """Standard deviation, relative: blue and red ends lose throughput, sky lines and telluric OH add light."""
    sigma = (
        0.25
        + 1.6 * np.exp(-(wavelength - 3550.0) / 180.0)
        + 0.5 / (1 + np.exp(-(wavelength - 9300.0) / 350.0))
    )
    sigma += 0.9 * np.exp((wavelength - 10400.0) / 90.0)
    for line in _SKY_LINES:
        sigma += 0.6 * np.exp(-0.5 * ((wavelength - line) / 3.0) ** 2)
    return sigma


def example_spectrum(z=2.4, *, snr=5.0, seed=1):
    """A simulated quasar on SDSS pixels.

    Parameters
    ----------
    z : float
        Redshift.
    snr : float
        Median signal-to-noise ratio per pixel.
    seed : int
        The same seed gives the same lines, forest and noise.

    Returns
    -------
    SpectrumArrays
        Its plate, MJD and fibre are 1, 50000 and 1; there is no position and no pipeline redshift.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    bank = broad_line_bank(rng, 1)
    position = (lattice_positions(_GRID) - 1e4 * np.log10(1 + z))[None]
    rest = 10 ** (1e-4 * position.double())
    redshift = torch.full((1, 1), float(z), dtype=torch.float64)
    lines = bank.observe(torch.zeros(1, dtype=torch.int64), position, outside="zero")
    flux = (rest / 1500.0) ** -1.56 * (1 + lines)
    # Native pixels resolve the forest; its clumps are about four of them wide.
    forest = forest_transmission(rest[:, ::4], redshift, generator, uniform_clumps=True)[0]
    transmission = forest.repeat_interleave(4, 1)
    flux = flux * transmission * lyman_limit(rest, redshift, generator)
    flux = flux[0].numpy()
    sigma = _noise(_GRID.wavelength)
    sigma *= np.median(flux / sigma) / snr
    noisy = flux + sigma * rng.standard_normal(flux.size)
    return SpectrumArrays(
        loglam=_GRID.loglam,
        flux=(3.0 * noisy).astype(np.float32),
        ivar=(1.0 / (3.0 * sigma) ** 2).astype(np.float32),
        file=EXAMPLE_FILE,
        plate=1,
        mjd=50000,
        fiber=1,
    )


def write_example(path, *, z=2.4, snr=5.0, seed=1, fiber=1):
    """Write :func:`example_spectrum` as a spec-lite file that says in its header that it is simulated.

    Parameters
    ----------
    path : path-like
        Replaced if it is there.
    z, snr, seed
        As for :func:`example_spectrum`.
    fiber : int
        Fibre number, which tells files of plate 1 and MJD 50000 apart.
    """
    from specz_cnn.io import write_spec_lite

    spectrum = example_spectrum(z, snr=snr, seed=seed)
    header = {
        "SIMULATE": (True, "simulated spectrum, not an observation"),
        "Z_TRUE": (z, "redshift of the simulation"),
        "SIM_SNR": (snr, "median S/N per pixel of the simulation"),
        "SIM_SEED": (seed, "seed of the simulation"),
    }
    write_spec_lite(
        path,
        spectrum.loglam,
        spectrum.flux,
        spectrum.ivar,
        plate=1,
        mjd=50000,
        fiber=fiber,
        header=header,
        overwrite=True,
    )
