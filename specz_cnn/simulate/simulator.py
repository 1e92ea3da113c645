"""Labelled spectra by the batch: redshifts and classes drawn, spectra made, observed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.simulate.compact import compact_library
from specz_cnn.simulate.contaminants import (
    galaxy_spectra,
    real_sky_spectra,
    sky_spectra,
    star_spectra,
    transient_spectra,
)
from specz_cnn.simulate.convention import HIGHEST, Convention
from specz_cnn.simulate.observe import lattice_positions, load_noise, load_sky_fibres, observe_spectra
from specz_cnn.simulate.quasars import quasar_spectra
from specz_cnn.simulate.sky import model_noise
from specz_cnn.simulate.templates import load_templates

__all__ = ["CLASSES", "SimulatedBatch", "SimulationConfig", "Simulator"]

#: Class codes of simulated spectra.
CLASSES = ("QSO", "GALAXY", "STAR", "SKY")


@dataclass(frozen=True)
class SimulationConfig:
    """What the simulation holds; every ingredient has its switch.

    Parameters
    ----------
    z_min, z_max : float
        Redshift range of quasars.
    dr16_fraction : float
        Share of quasars with redshifts drawn from DR16; the rest are uniform in z.
    class_weights : tuple of float
        Relative numbers of quasars, galaxies, stars, blank sky.
    recipe_weights : tuple of float
        Relative numbers of quasars made from lines of real quasars, archetypes, parametric lines.
    snr_min, snr_max, snr_scatter : float
        Bounds of the S/N per native pixel, and the log-normal scatter by which DR16's distribution is widened.
    frame : {"sdss", "systemic"}
        What the redshift of a quasar is: what SDSS would give (`specz_cnn.simulate.convention`), or that of the
        maximum of Mg II, where it is in view or not.
    without_forest : float
        In the frame of SDSS, the share whose redshift is that of the fit without the Lyman-alpha forest: p(z) then
        covers both of its conventions.
    line_shifts, weak_lines : bool
        Shifts of lines of high ionisation, and quasars with weak lines (`specz_cnn.simulate.shifts`).
    double_peaks : float
        Share of quasars at low redshift with Balmer lines of a disk (`specz_cnn.simulate.emission`).
    associated_absorption : bool
        Narrow absorption at the quasar's own redshift (`specz_cnn.simulate.absorbers`).
    proximity_zones, damping_wing : bool
        Gas that the quasar ionises, with sightlines that differ at z > 4, and neutral gas beyond it at z > 5.8
        (`specz_cnn.simulate.igm`).
    transients : float
        Share of tidal disruption events and supernovae among galaxies.
    sky_fibres : bool
        Real sky fibres among the blank sky and as noise, where there are any.
    other_instruments : float
        Share observed with other resolution, noise and coverage than those of SDSS, at higher S/N.
    telluric_residuals : bool
        What is left of the absorption of the atmosphere.
    damaged : float
        Share whose flux calibration is off by a factor, and share of which only a piece of the spectrum is left.
    """

    z_min: float = 0.0
    z_max: float = 7.1
    dr16_fraction: float = 0.55
    class_weights: tuple = (0.72, 0.11, 0.13, 0.04)
    recipe_weights: tuple = (0.62, 0.18, 0.2)
    snr_min: float = 0.4
    snr_max: float = 40.0
    snr_scatter: float = 0.25
    frame: str = "sdss"
    without_forest: float = 0.3
    line_shifts: bool = True
    weak_lines: bool = True
    extra_lines: bool = True
    tilt: bool = True
    reddening: bool = True
    narrow_lines: bool = True
    double_peaks: float = 0.03
    host_galaxies: bool = True
    bal: bool = True
    associated_absorption: bool = True
    igm: bool = True
    proximity_zones: bool = True
    damping_wing: bool = True
    dla: bool = True
    flux_calibration: bool = True
    masked_runs: bool = True
    sky_residuals: bool = True
    cosmic_rays: bool = True
    telluric_residuals: bool = True
    sky_fibres: bool = True
    transients: float = 0.05
    other_instruments: float = 0.08
    damaged: float = 0.05

    def __post_init__(self):
        if self.frame not in ("sdss", "systemic"):
            raise ValueError(f'frame must be "sdss" or "systemic", not {self.frame!r}')

    @classmethod
    def from_dict(cls, values):
        """Build from a recipe's table; an unknown key is an error."""
        names = set(cls.__dataclass_fields__)
        extra = set(values) - names
        if extra:
            raise ValueError(f"unknown simulation settings {sorted(extra)}; known are {sorted(names)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def to_dict(self):
        """Plain dictionary for metadata."""
        return asdict(self)


@dataclass(frozen=True)
class SimulatedBatch:
    """One batch: ``flux, ivar`` (n, n_pixels); ``z, snr`` (n,); ``label`` index into CLASSES; ``is_bal``."""

    flux: torch.Tensor
    ivar: torch.Tensor
    z: torch.Tensor
    label: torch.Tensor
    snr: torch.Tensor
    is_bal: torch.Tensor


class Simulator:
    """Draws batches of labelled spectra; the same seed gives the same spectra.

    Parameters
    ----------
    directory : path-like, optional
        Holds ``templates/``, ``statistics/`` and the noise file; if not given, the compact bank and the model of noise
        of the package take their place (:mod:`specz_cnn.simulate.compact`, :mod:`specz_cnn.simulate.sky`).
    grid : ModelGrid
    config : SimulationConfig
    noise : str
        Name of the file with real inverse variances in ``directory``.
    noise_keep : array_like of bool, optional
        Rows of the noise file to use.
    sky : str
        Name of the file with real sky fibres in ``directory``; it need not be there.
    sky_keep : array_like of bool, optional
        Rows of it to use.
    device : str or `torch.device`
    """

    def __init__(
        self,
        directory=None,
        *,
        grid=None,
        config=None,
        noise="dev_spectra.npz",
        noise_keep=None,
        sky="sky_fibres.npz",
        sky_keep=None,
        device="cpu",
    ):
        self.grid = grid or ModelGrid()
        self.config = config or SimulationConfig()
        self.device = torch.device(device)
        if directory is None:
            library, ivar = compact_library(smooth=float(self.grid.factor)), model_noise(self.grid)
            # All its quasars are parametric, and made at the redshift that is their label.
            self.config = replace(self.config, recipe_weights=(0.0, 0.0, 1.0), frame="systemic")
        else:
            library = load_templates(directory, smooth=float(self.grid.factor))
            ivar = load_noise(Path(directory) / noise, self.grid, keep=noise_keep)
        self.library, self.noise = library.to(self.device), ivar.to(self.device)
        self._sky = None
        if directory is not None and (Path(directory) / sky).is_file():
            fibres = load_sky_fibres(Path(directory) / sky, self.grid, keep=sky_keep)
            self._sky = tuple(part.to(self.device) for part in fibres) if len(fibres[0]) else None
        self.loglam = lattice_positions(self.grid, self.device)

    def draw(self, n, seed):
        """Simulate ``n`` spectra.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        SimulatedBatch
        """
        config, device = self.config, self.device
        generator = torch.Generator(device).manual_seed(int(seed))
        weights = torch.tensor(config.class_weights, dtype=torch.float32, device=device)
        label = torch.multinomial(weights, n, replacement=True, generator=generator)
        z, snr = self._draw_redshift_and_snr(n, label, generator)
        flux = torch.empty((n, self.grid.n_pixels), device=device)
        is_bal = torch.zeros(n, dtype=torch.bool, device=device)
        quasar, galaxy, star, sky = (torch.nonzero(label == i)[:, 0] for i in range(4))
        flux[quasar], is_bal[quasar], kind = quasar_spectra(
            z[quasar], self.library, self.loglam, generator, config
        )
        flux[galaxy] = galaxy_spectra(z[galaxy], self.library, self.loglam, generator)
        broad = galaxy[torch.rand(len(galaxy), generator=generator, device=device) < config.transients]
        z[broad] = z[broad] * 0.4
        flux[broad] = transient_spectra(z[broad], self.library, self.loglam, generator)
        flux[star] = star_spectra(z[star], self.library, self.loglam, generator)
        flux[sky] = sky_spectra(len(sky), self.loglam, generator)
        snr[sky] = 0.3 * torch.rand(len(sky), generator=generator, device=device)
        other = torch.rand(n, generator=generator, device=device) < config.other_instruments
        other &= label != 3
        brighter = torch.exp(2.5 * torch.rand(n, generator=generator, device=device))
        snr = torch.where(other, snr * brighter, snr)
        clean = flux
        real_sky = self._sky if config.sky_fibres else None
        flux, ivar = observe_spectra(
            flux,
            snr,
            self.noise,
            self.loglam,
            generator,
            config,
            native_per_pixel=self.grid.factor,
            z=z,
            other=other,
            sky=real_sky,
        )
        if real_sky is not None and len(sky):
            rows = sky[torch.rand(len(sky), generator=generator, device=device) < 0.6]
            flux[rows], ivar[rows] = real_sky_spectra(len(rows), real_sky, generator)
        if config.frame == "sdss":
            red = torch.rand(len(quasar), generator=generator, device=device) < config.without_forest
            fit = ~is_bal[quasar] & (z[quasar] < HIGHEST)
            rows = quasar[fit]
            z[rows] = self._convention.redshift(
                clean[rows], ivar[rows], z[rows], kind[fit], without_forest=red[fit]
            )
        return SimulatedBatch(flux, ivar, z, label, snr, is_bal)

    @cached_property
    def _convention(self):
        return Convention(self.library, self.noise, self.loglam, self.config)

    def _draw_redshift_and_snr(self, n, label, generator):
        config, device, library = self.config, self.device, self.library
        pick = torch.randint(len(library.line_z), (n,), generator=generator, device=device)
        jitter = torch.exp(0.01 * torch.randn(n, generator=generator, device=device))
        z = (1 + library.line_z[pick]) * jitter - 1
        inside = (z >= config.z_min) & (z < config.z_max)
        spread = torch.rand(n, generator=generator, device=device)
        uniform = config.z_min + (config.z_max - config.z_min) * spread
        other = torch.rand(n, generator=generator, device=device) >= config.dr16_fraction
        z = torch.where(other | ~inside, uniform, z)
        again = torch.randint(len(library.line_z), (n,), generator=generator, device=device)
        snr = library.line_snr[again] * torch.exp(
            config.snr_scatter * torch.randn(n, generator=generator, device=device)
        )
        snr = snr.clamp(config.snr_min, config.snr_max)
        galaxy, star, sky = label == 1, label == 2, label == 3
        z = torch.where(galaxy, 0.01 + 1.0 * spread**1.5, z)
        z = torch.where(star, 4e-4 * torch.randn(n, generator=generator, device=device), z)
        return torch.where(sky, 0.0, z), snr
