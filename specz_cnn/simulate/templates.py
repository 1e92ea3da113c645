"""Read the templates and statistics that the simulation is built from.

Nothing of these is shipped: they are other people's data.  ``docs/training.rst`` lists where each comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from specz_cnn.simulate.bank import BANK_STEP, Bank, resample_rows
from specz_cnn.simulate.emission import BROAD_LINES, NARROW_LINES, broad_line_bank, narrow_line_bank
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["TemplateLibrary", "load_templates", "smooth_between_lines"]

_STAR_TYPES = ("A", "B", "CV", "F", "G", "K", "M", "WD")


@dataclass(frozen=True)
class TemplateLibrary:
    """Everything the simulator draws from, as tensors on one device.

    Attributes
    ----------
    line_basis : Bank
        Eigenvectors of the continuum-subtracted spectra of DR16 quasars (GaSNet-III), pipeline redshifts.
    line_coefficients, line_z, line_snr, line_shift : `torch.Tensor`
        For each real quasar, sorted by redshift: coefficients (n, 10), redshift (n,), median S/N per pixel (n,), and the
        pipeline's redshift minus that at which the coefficients were fitted, in ln(1 + z), (n,).
    archetypes : Bank
        Quasar archetypes of redrock: combinations of the SDSS eigenspectra, hence in the pipeline's convention.
    broad, narrow : Bank
        Parametric lines (:mod:`specz_cnn.simulate.emission`).
    galaxies : Bank
        SDSS galaxy eigenspectra.
    galaxy_coefficients : `torch.Tensor`, shape (n, 4)
    stars : Bank
        Stars in the rest frame.
    quasars : Bank
        The four SDSS quasar eigenspectra, which define the pipeline's redshift.
    """

    line_basis: Bank
    line_coefficients: torch.Tensor
    line_z: torch.Tensor
    line_snr: torch.Tensor
    line_shift: torch.Tensor
    archetypes: Bank
    broad: Bank
    narrow: Bank
    galaxies: Bank
    galaxy_coefficients: torch.Tensor
    stars: Bank
    quasars: Bank

    def to(self, device):
        """The same library on another device."""
        return TemplateLibrary(**{name: value.to(device) for name, value in vars(self).items()})


def load_templates(directory, *, smooth=4.0, seed=0):
    """Load the library from a directory with the subdirectories ``templates`` and ``statistics``.

    Parameters
    ----------
    directory : path-like
    smooth : float
        Width of the pixels that will look at the templates, in native SDSS pixels.
    seed : int
        For the parametric lines and the random stars.

    Returns
    -------
    TemplateLibrary

    Raises
    ------
    FileNotFoundError
        Naming the file that is missing.
    """
    directory = Path(directory)
    templates, statistics = directory / "templates", directory / "statistics"
    for folder in (templates, statistics):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no directory {folder}: see the documentation on training for what it must hold"
            )
    rng = np.random.default_rng(seed)
    basis, coefficients, z, snr, shift = _quasar_lines(statistics, smooth)
    archetypes = _archetypes(templates / "rrarchetype-qso.fits", smooth)
    return TemplateLibrary(
        line_basis=smooth_between_lines(basis),
        line_coefficients=coefficients,
        line_z=z,
        line_snr=snr,
        line_shift=shift,
        archetypes=smooth_between_lines(archetypes),
        broad=broad_line_bank(rng, 1500),
        narrow=narrow_line_bank(rng, 300),
        galaxies=_sdss_eigenspectra(templates / "spEigenGal-56436.fits", smooth),
        galaxy_coefficients=torch.from_numpy(_galaxy_coefficients(rng)),
        stars=_stars(templates, smooth, rng),
        quasars=_sdss_eigenspectra(templates / "spEigenQSO-55732.fits", smooth),
    )


def smooth_between_lines(bank, *, sigma=1000.0, first=3000.0):
    """Take noise out of templates of quasars: smooth where no line of theirs is.

    Redward of Mg II templates are means of few quasars, bright ones of low redshift, and scatter from pixel to pixel by 1 to 4 %,
    where spectra of real quasars of the same S/N show nothing.  Stellar absorption goes with it; hosts have their own.

    Parameters
    ----------
    bank : Bank
    sigma : float
        Width of the Gaussian, km/s.  Within 1200 km/s of narrow lines and 4000 of broad ones nothing changes.
    first : float
        Wavelength (Angstrom) beyond which templates are smoothed.

    Returns
    -------
    Bank
    """
    from scipy.ndimage import gaussian_filter1d

    wavelength = 10 ** (1e-4 * (bank.start + BANK_STEP * np.arange(bank.values.shape[1])))
    lines = [(line, 1200.0) for line, _ in NARROW_LINES.values()]
    lines += [(line, 4000.0) for line, _, _, _, width in BROAD_LINES.values() if width < 2]
    away = np.min(
        [SPEED_OF_LIGHT * np.abs(np.log(wavelength / line)) - clear for line, clear in lines], axis=0
    )
    share = np.clip(away / sigma, 0, 1) * np.clip((wavelength / first - 1) / 0.02, 0, 1)
    step = 1e-4 * np.log(10) * SPEED_OF_LIGHT * BANK_STEP
    rows = bank.values.numpy()
    smooth = gaussian_filter1d(rows, sigma / step, axis=1, mode="nearest")
    return Bank(torch.from_numpy((rows + share * (smooth - rows)).astype(np.float32)), bank.start)


def _quasar_lines(statistics, smooth):
    catalogue = np.load(statistics / "gasnet3_qso_15000.npz")
    vectors = np.load(statistics / "gasnet3_encoder_QSO_weights.npz")["eigenvectors"]
    basis = resample_rows(1e4 * catalogue["output_grid"], vectors, smooth=smooth)
    z = catalogue["Z"].astype(np.float64)
    # The published sample has |Best_fit_z - Z| < 0.01 (1 + Z) for nearly all; keep those only.
    good = np.abs(catalogue["Best_fit_z"] - z) < 0.01 * (1 + z)
    order = np.flatnonzero(good)[np.argsort(z[good], kind="stable")]

    def tensor(values):
        return torch.from_numpy(np.ascontiguousarray(values[order].astype(np.float32)))

    shift = np.log1p(z) - np.log1p(catalogue["Best_fit_z"].astype(np.float64))
    snr = tensor(catalogue["SN_MEDIAN_ALL"])
    return basis, tensor(catalogue["coefficients"][:, 0]), tensor(z), snr, tensor(shift)


def _archetypes(path, smooth):
    with fits.open(path) as hdus:
        rows = hdus["ARCHETYPES"].data["ARCHETYPE"].astype(np.float64)
        header = hdus["ARCHETYPES"].header
    loglam = 1e4 * (header["CRVAL1"] + header["CDELT1"] * np.arange(rows.shape[1]))
    rows = rows / np.median(rows[:, 2000:], axis=1, keepdims=True)
    return resample_rows(loglam, rows, smooth=smooth)


def _sdss_eigenspectra(path, smooth):
    with fits.open(path) as hdus:
        rows = hdus[0].data.astype(np.float64)
        header = hdus[0].header
    loglam = 1e4 * (header["COEFF0"] + header["COEFF1"] * np.arange(rows.shape[1]))
    return resample_rows(loglam, rows / np.abs(rows).mean(axis=1, keepdims=True), smooth=smooth)


def _galaxy_coefficients(rng, n=4000):
    """Combinations of the galaxy eigenspectra (each of mean absolute value one) from passive to star-forming."""
    spread = np.array([0.0, 0.45, 0.35, 0.25])
    return (np.array([1.0, 0.0, 0.0, 0.0]) + spread * rng.normal(size=(n, 4))).astype(np.float32)


def _stars(templates, smooth, rng, n_random=120):
    low, high = 34900, 40350
    rows = []
    with fits.open(templates / "spEigenStar-55734.fits") as hdus:
        data, header = hdus[0].data.astype(np.float64), hdus[0].header
    loglam = 1e4 * (header["COEFF0"] + header["COEFF1"] * np.arange(data.shape[1]))
    rows.append(resample_rows(loglam, data, smooth=smooth, low=low, high=high).values)
    with fits.open(templates / "rrarchetype-star.fits") as hdus:
        data, header = hdus["ARCHETYPES"].data["ARCHETYPE"].astype(np.float64), hdus["ARCHETYPES"].header
    loglam = 1e4 * np.log10(header["CRVAL1"] + header["CDELT1"] * np.arange(data.shape[1]))
    rows.append(resample_rows(loglam, data, smooth=smooth, low=low, high=high).values)
    for kind in _STAR_TYPES:
        with fits.open(templates / f"rrtemplate-STAR-{kind}-v0.1.fits") as hdus:
            data, header = hdus[0].data.astype(np.float64), hdus[0].header
            coefficients = hdus[1].data if len(hdus) > 1 else None
        loglam = 1e4 * np.log10(header["CRVAL1"] + header["CDELT1"] * np.arange(data.shape[1]))
        basis = resample_rows(loglam, data, smooth=smooth, low=low, high=high).values.numpy()
        if coefficients is None:
            # Cataclysmic variables come without coefficients; with their broad lines they resemble quasars most.
            mixture = 0.3 * rng.normal(size=(2 * n_random, len(basis)))
            mixture[:, 0] += np.abs(rng.normal(size=2 * n_random))
        else:
            mixture = np.asarray(coefficients)[rng.choice(len(coefficients), n_random)]
        rows.append(torch.from_numpy((mixture @ basis).astype(np.float32)))
    values = torch.cat(rows)
    scale = values.abs().mean(1, keepdim=True)
    good = torch.isfinite(values).all(1) & (scale[:, 0] > 0)
    return Bank((values / scale)[good].contiguous(), float(low))
