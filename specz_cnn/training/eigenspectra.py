"""Learn the eigenspectra that redshifts are measured with, from simulated quasars.

First from noise-free spectra in the rest frame of their labels, by alternating least squares: what reconstructs quasars best.
Then for the task: the likelihood of the label under a fit to noisy spectra, exp(-chi2 / 2T) at the shifts about it, is
maximised by following its gradient through the fit, so that the minimum of chi2 comes to lie at the label.
"""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch.nn.functional import conv1d

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.eigenspectra import SAMPLE, SHIFT, Eigenspectra, read_eigenspectra
from specz_cnn.models.info import ModelInfo
from specz_cnn.models.pca import PCA
from specz_cnn.models.registry import save_model
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.convention import HIGHEST, Convention
from specz_cnn.simulate.observe import observe_spectra
from specz_cnn.simulate.quasars import quasar_spectra
from specz_cnn.training.recipe import outside_validation
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["Quasars", "learn", "read_settings", "reconstruct", "refine", "save_pca", "simulate_quasars"]

_RECIPE = Path(__file__).with_name("eigenspectra.toml")
_CHUNK = 500
_LEAST_PIXELS = 200
_FINE = 8  # places at which the likelihood is known, a shift
_LEAST_DENSITY = 1e-4  # of a label, so that hopeless ones have no influence
_KERNEL = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.2) ** 2)


@dataclass(frozen=True)
class Quasars:
    """Noise-free simulated quasars.

    Parameters
    ----------
    flux : `torch.Tensor`, shape (n, n_samples)
        Sampled as eigenspectra are, and averaged over pixels of the grid.
    z : `torch.Tensor`, float64, shape (n,)
        Nominal redshifts, those of narrow lines.
    label : `torch.Tensor`, float64, shape (n,)
        Redshifts in the pipeline's convention.
    """

    flux: torch.Tensor
    z: torch.Tensor
    label: torch.Tensor

    def __len__(self):
        return len(self.z)


def read_settings(path=None):
    """The settings of a recipe file, by default the packaged one: a dict of tables."""
    return tomllib.loads(Path(path or _RECIPE).read_text(encoding="utf-8"))


def learn(data, settings, *, progress=None):
    """Eigenspectra from a recipe.

    Parameters
    ----------
    data : path-like
        Directory with ``templates/``, ``statistics/`` and the noise file.
    settings : dict
        Of `read_settings`.
    progress : callable, optional
        Called with a line of text now and then.

    Returns
    -------
    measuring, describing : Eigenspectra
        Those whose fits have their minimum at the redshift, and more of them that describe a spectrum at its redshift.
    """
    progress = progress or (lambda line: None)
    seed = settings["seed"]
    # Lines as real quasars of the library have them, in the convention that the labels stand in.
    config = SimulationConfig(
        line_shifts=False,
        weak_lines=False,
        associated_absorption=False,
        proximity_zones=False,
        damping_wing=False,
        telluric_residuals=False,
        sky_fibres=False,
        other_instruments=0.0,
    )
    simulator = Simulator(data, config=config, noise_keep=outside_validation(Path(data) / "dev_spectra.npz"))
    quasars = simulate_quasars(simulator, seed=seed, **settings["simulation"])
    progress(f"{len(quasars)} quasars")
    first, describing = (
        reconstruct(
            quasars, simulator.grid, n_spectra=n, seed=seed, iterations=settings["reconstruct"]["iterations"]
        )
        for n in (settings["reconstruct"][name] for name in ("n_measuring", "n_describing"))
    )
    progress(f"{len(first)} and {len(describing)} eigenspectra of {first.values.shape[1]} samples")
    return refine(first, quasars, simulator, seed=seed, progress=progress, **settings["refine"]), describing


def simulate_quasars(simulator, *, n, seed, dr16=0.6, varied=0.6, **changes):
    """Draw noise-free quasars without broad absorption, and label them with the fit that defines the convention.

    Parameters
    ----------
    simulator : `~specz_cnn.simulate.Simulator`
    n, seed : int
    dr16 : float, optional
        Share with redshifts of DR16; the rest are spread over the range, two thirds of them below 3.5.
    varied : float, optional
        Share whose lines are shifted against each other, and shaped, more than those of the library.
    **changes
        Of the simulation's settings.

    Returns
    -------
    Quasars
        Without those for which the fit of the convention fails.
    """
    library, grid = simulator.library, simulator.grid
    generator = torch.Generator().manual_seed(seed)
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    config = replace(simulator.config, bal=False, **changes)
    pick = torch.randint(len(library.line_z), (round(dr16 * n),), generator=generator)
    low = torch.rand((n - len(pick)) * 2 // 3, generator=generator) * (HIGHEST - 0.02) + 0.02
    high = torch.rand(n - len(pick) - len(low), generator=generator) * 5.1 + 2.0
    z = torch.cat([library.line_z[pick], low, high])[torch.randperm(n, generator=generator)]
    stride = grid.factor // SAMPLE
    position = simulator.loglam[0] + SAMPLE * torch.arange(stride * (grid.n_pixels - 1) + 1)
    convention = Convention(library, simulator.noise, simulator.loglam, config)
    parts = []
    for some in z.split(_CHUNK):
        flux, _, kind = quasar_spectra(some, library, position, generator, config)
        # Above HIGHEST no fit says what the label of another shape is.
        change = (torch.rand(len(some), generator=generator) < varied) & (some < HIGHEST)
        flux[change] = _vary(flux[change], some[change], position, generator)
        label, fitted = some.double(), torch.nonzero(some < HIGHEST)[:, 0]
        noise = simulator.noise[torch.randint(len(simulator.noise), (len(fitted),), generator=generator)]
        all_wavelengths = torch.zeros(len(fitted), dtype=torch.bool)
        label[fitted] = convention.redshift(
            flux[fitted, ::stride], noise, some[fitted], kind[fitted], without_forest=all_wavelengths
        ).double()
        rms = flux.square().mean(1).sqrt()
        good = torch.isfinite(flux).all(1) & (rms > 0) & (flux.abs().mean(1) > 0.25 * rms)
        good &= (label != some.double()) | (some >= HIGHEST)
        parts.append((flux[good], some[good].double(), label[good]))
    return Quasars(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _vary(flux, z, position, generator):
    """Spectra whose ultraviolet lines are shifted against each other, and whose shapes differ, more than the library's.

    What eigenspectra must learn is which redshift the survey's fit gives to *any* spectrum, the more unusual the better.
    """
    n, n_samples = flux.shape
    rest = 10 ** (1e-4 * (position[None] - 1e4 * torch.log10(1 + z)[:, None]))

    def field(length):
        """Smooth random rows of variance one."""
        frequency = torch.fft.rfftfreq(2 * n_samples)
        noise = torch.fft.rfft(torch.randn(n, 2 * n_samples, generator=generator))
        rows = torch.fft.irfft(noise * torch.exp(-0.5 * (2 * torch.pi * frequency * length) ** 2))
        return rows[:, :n_samples] / rows.std()

    wind = torch.exp(-0.5 * (torch.log(rest / 1500.0) / 0.22) ** 2)
    blue = -torch.log(torch.rand((n, 1), generator=generator).clamp(min=1e-3))
    ultraviolet = torch.sigmoid((2750.0 - rest) / 40.0)
    velocity = ultraviolet * (200.0 * field(100.0) - 350.0 * blue * wind)
    place = torch.arange(n_samples) - velocity / (SPEED_OF_LIGHT * SHIFT)
    place = place.clamp(0, n_samples - 1.001)
    left = place.floor().long()
    share = place - left
    flux = flux.gather(1, left) * (1 - share) + flux.gather(1, left + 1) * share
    return flux * torch.exp((0.03 + 0.07 * ultraviolet) * field(20.0))


def reconstruct(quasars, grid, *, n_spectra, iterations=16, seed=0):
    """Eigenspectra that describe noise-free quasars best, by weighted alternating least squares.

    Parameters
    ----------
    quasars : Quasars
    grid : `~specz_cnn.io.grid.ModelGrid`
    n_spectra, iterations, seed : int

    Returns
    -------
    Eigenspectra
    """
    flux = quasars.flux / quasars.flux.square().mean(1, keepdim=True).sqrt()
    shift = torch.log1p(quasars.label).numpy() / SHIFT
    n_samples = flux.shape[1]
    low = -int(np.ceil(shift.max())) - 1
    rest, place = np.arange(low, n_samples), np.arange(n_samples)
    data, seen = np.zeros((2, len(flux), len(rest)), np.float32)
    for row, (values, by) in enumerate(zip(flux.numpy(), shift, strict=True)):
        inside = (rest + by >= 0) & (rest + by <= n_samples - 1)
        data[row, inside] = np.interp(rest[inside] + by, place, values)
        seen[row, inside] = 1
    data, seen = torch.from_numpy(data), torch.from_numpy(seen)
    generator = torch.Generator().manual_seed(seed)
    values = 0.05 * torch.randn(n_spectra, len(rest), generator=generator)
    values[0] = data.sum(0) / seen.sum(0).clamp(min=1)
    i, j = torch.triu_indices(n_spectra, n_spectra)
    eye = torch.eye(n_spectra, dtype=torch.float64)

    def full(pairs):
        out = pairs.new_zeros(len(pairs), n_spectra, n_spectra)
        out[:, i, j] = pairs
        out[:, j, i] = pairs
        return out.double()

    for _ in range(iterations):
        normal = full(seen @ (values[i] * values[j]).T)
        normal = normal + 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * eye
        amount = torch.linalg.solve(normal, (data @ values.T).double()[:, :, None])[:, :, 0].float()
        normal = full(seen.T @ (amount[:, i] * amount[:, j])) + 1e-2 * eye
        values = torch.linalg.solve(normal, (data.T @ amount).double()[:, :, None])[:, :, 0].T.float()
        values = values / values.square().mean(1, keepdim=True).sqrt()
    start = grid.start + 0.5 * (grid.factor - 1) + SAMPLE * low
    return Eigenspectra(values.contiguous(), start, torch.full((n_spectra,), 1e-3))


def refine(
    eigenspectra,
    quasars,
    simulator,
    *,
    steps,
    batch_size=48,
    rate=0.03,
    reach=16,
    wander=4.0,
    brighter=1.5,
    width=60.0,
    narrow_below=0.9,
    seed=0,
    progress=None,
):
    """Eigenspectra whose fits to noisy spectra have their minimum at the label.

    Parameters
    ----------
    eigenspectra : Eigenspectra
        To start from.
    quasars : Quasars
    simulator : `~specz_cnn.simulate.Simulator`
        For the noise.
    steps, batch_size : int
    rate : float, optional
        The largest learning rate.
    reach : int, optional
        Shifts to either side at which spectra are fitted.
    wander : float, optional
        Standard deviation of the middle of these from the label, in shifts.
    brighter : float, optional
        Factor on the S/N of DR16.
    width : float, optional
        Standard deviation of the label in km/s: nothing is gained by a narrower likelihood.
    narrow_below : float, optional
        Below this redshift labels are those of the narrow lines, above it (fully from 0.2 higher) the pipeline's.
    seed : int, optional
    progress : callable, optional

    Returns
    -------
    Eigenspectra
        With the priors of the coefficients that go with them.
    """
    grid, library, config = simulator.grid, simulator.library, simulator.config
    generator = torch.Generator().manual_seed(seed)
    change = torch.zeros_like(eigenspectra.values, requires_grad=True)
    log_prior = eigenspectra.prior.log().clone().requires_grad_(True)
    log_temperature = torch.zeros(1, requires_grad=True)
    slow = 0.03
    optimiser = torch.optim.Adam(
        [{"params": [change]}, {"params": [log_prior, log_temperature]}], lr=rate, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [rate, slow], total_steps=steps, pct_start=0.1)
    share = ((quasars.z - narrow_below) / 0.2).clamp(0, 1)
    truth = (share * torch.log1p(quasars.label) + (1 - share) * torch.log1p(quasars.z)) / SHIFT
    n_shifts = 2 * reach + 1
    finer = torch.from_numpy(
        CubicSpline(np.arange(n_shifts), np.eye(n_shifts))(
            np.arange(_FINE * (n_shifts - 1) + 1) / _FINE
        ).T.copy()
    )
    places = torch.arange(finer.shape[1]).double() / _FINE
    spread = width / (SHIFT * SPEED_OF_LIGHT)
    kernel = (_KERNEL / _KERNEL.sum())[None, None]

    def current():
        # Smooth, so that noise does not write itself into samples that few quasars show.
        values = eigenspectra.values + conv1d(change[:, None], kernel, padding=kernel.shape[2] // 2)[:, 0]
        return Eigenspectra(values, eigenspectra.start, log_prior.exp())

    losses = []
    for step in range(steps):
        rows = torch.randint(len(quasars), (batch_size,), generator=generator)
        snr = library.line_snr[torch.randint(len(library.line_snr), (batch_size,), generator=generator)]
        snr = snr * brighter * torch.exp(0.3 * torch.randn(batch_size, generator=generator))
        flux, ivar = observe_spectra(
            quasars.flux[rows, :: grid.factor // SAMPLE],
            snr.clamp(config.snr_min, config.snr_max),
            simulator.noise,
            simulator.loglam,
            generator,
            config,
            native_per_pixel=grid.factor,
        )
        off = wander * torch.randn(batch_size, generator=generator).clamp(-2.5, 2.5)
        use = (ivar > 0).sum(1) > _LEAST_PIXELS
        flux, ivar, true, off = flux[use], ivar[use], truth[rows[use]], off[use]
        lowest = torch.round(true + off).long() - reach
        now = current()
        chi2 = now.scan(flux, ivar, lowest, n_shifts, grid)
        freedom = (ivar > 0).sum(1) - now.n_parameters
        least = chi2.detach().amin(1, keepdim=True)
        temperature = log_temperature.exp() * (least / freedom[:, None]).clamp(min=1)
        p = torch.softmax(-0.5 * ((chi2 - least) / temperature) @ finer, 1)
        away = (places - (true - lowest)[:, None]) / spread
        near = 0.85 * torch.exp(-0.5 * away**2) + 0.03 * torch.exp(-0.5 * (away / 5) ** 2)
        loss = -torch.log((p * near).sum(1) / spread + _LEAST_DENSITY).mean()
        optimiser.zero_grad()
        with _in_fixed_order():
            loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if progress and (step + 1) % 250 == 0:
            progress(f"step {step + 1}: loss {np.mean(losses[-250:]):.3f}")
    with torch.no_grad():
        found = current()
    # The scale of each is free: one in the mean square, and its prior with it.
    size = found.values.square().mean(1).sqrt()
    return Eigenspectra(
        (found.values / size[:, None]).contiguous(), found.start, (found.prior / size**2).detach()
    )


@contextmanager
def _in_fixed_order():
    """Threads add up what windows that overlap say of a sample in any order; learning would follow the rounding."""
    before = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warn)


def save_pca(path, eigenspectra, settings):
    """Write weights of the estimator ``pca`` from eigenspectra that describe.

    Parameters
    ----------
    path : path-like
        Weights file (.safetensors).
    eigenspectra : path-like
        File of `~specz_cnn.models.eigenspectra.write_eigenspectra`.
    settings : dict
        Of `read_settings`.

    Returns
    -------
    ModelInfo
    """
    grid, n_bins = ModelGrid(), settings["pca"]["n_bins"]
    describing = read_eigenspectra(eigenspectra)[1]
    prior = torch.full_like(describing.prior, settings["pca"]["prior"])
    network = PCA.of(replace(describing, prior=prior), grid, n_bins, settings["pca"]["temperature"])
    info = ModelInfo(
        name="pca",
        tag="pca-1",
        architecture="PCA",
        arguments={
            "n_pixels": grid.n_pixels,
            "n_bins": n_bins,
            "n_spectra": len(describing),
            "first": network.first,
        },
        grid=grid.to_dict(),
        bins={"n": n_bins, "step": grid.step},
        recipe={"eigenspectra": settings},
        seed=settings["seed"],
        description="Eigenspectra fitted at every redshift: the classical estimator, as a cross-check.",
    )
    return save_model(path, network, info)
