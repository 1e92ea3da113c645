"""The redshift convention of simulated quasars: the fit of eigenspectra that SDSS makes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.simulate.bank import BANK_STEP, Bank
from specz_cnn.simulate.convention import eigenspectra_redshift
from specz_cnn.simulate.observe import lattice_positions

C = 299792.458  # km/s
Z = torch.tensor([1.2, 1.4, 2.1, 2.6, 3.2], dtype=torch.float64)


@pytest.fixture(scope="module")
def bank():
    """Four smooth, made-up eigenspectra: a continuum and lines of different widths."""
    x = torch.arange(27000, 40300, BANK_STEP)

    def line(position, sigma):
        return torch.exp(-0.5 * ((x - position) / sigma) ** 2)

    lines = [line(p, s) for p, s in ((30848, 30), (31900, 40), (32806, 50), (34470, 35), (36868, 30))]
    rows = [torch.ones_like(x), sum(lines), lines[1] - lines[3], 1e-4 * (x - 33000)]
    return Bank(torch.stack(rows).float(), 27000.0)


@pytest.fixture(scope="module")
def loglam():
    return lattice_positions(ModelGrid())


def spectra(bank, loglam, z=Z):
    position = (loglam[None].double() - 1e4 * torch.log10(1 + z)[:, None]).float()
    mixture = torch.tensor([1.0, 2.0, 0.3, 0.2]) @ bank.values
    return bank.observe(mixture.expand(len(z), -1).contiguous(), position)


def offset(found, z=Z):
    return C * (found - z) / (1 + z)


@pytest.mark.parametrize("without_forest", [False, True])
@pytest.mark.parametrize("start", [-800.0, -200.0, 0.0, 150.0, 800.0])
def test_combinations_of_the_eigenspectra_are_found(bank, loglam, start, without_forest):
    flux = spectra(bank, loglam)
    # Neither a quadratic polynomial, nor the unit, nor the absolute weights make a difference.
    flux = 1e-3 * (flux + 2 + torch.linspace(-1, 1, flux.shape[1]) ** 2)
    guess = (1 + Z) * (1 + start / C) - 1
    red = torch.full((len(Z),), without_forest)
    found = eigenspectra_redshift(flux, torch.full_like(flux, 1e5), guess, bank, loglam, without_forest=red)
    assert offset(found).abs().max() < 70


def test_lines_that_disagree(bank, loglam):
    """Lyman alpha shifted against the rest moves the redshift with it, unless it is left out."""
    flux, shifted = spectra(bank, loglam), spectra(bank, loglam, (1 + Z) * (1 + 600 / C) - 1)
    blue = 10 ** (1e-4 * loglam)[None] < 1255 * (1 + Z[:, None])
    flux = torch.where(blue, shifted, flux)
    ivar = torch.ones_like(flux)
    with_lya, without = (
        offset(
            eigenspectra_redshift(flux, ivar, Z, bank, loglam, without_forest=torch.full((len(Z),), value))
        )
        for value in (False, True)
    )
    in_view = Z > 2
    assert without.abs().max() < 20
    assert (with_lya[in_view] > 50).all() and with_lya[~in_view].abs().max() < 20


def test_nothing_to_fit_leaves_the_redshift(bank, loglam):
    flux = spectra(bank, loglam)
    few = torch.zeros_like(flux)
    few[:, 300:400] = 1.0
    red = torch.zeros(len(Z), dtype=torch.bool)
    for ivar in (torch.zeros_like(flux), few):
        assert torch.equal(eigenspectra_redshift(flux, ivar, Z, bank, loglam, without_forest=red), Z)
    far = (1 + Z) * (1 + 5000 / C) - 1  # no minimum within reach, or one of a wrong line: nothing wild
    found = eigenspectra_redshift(flux, torch.ones_like(flux), far, bank, loglam, without_forest=red)
    assert offset(found, far).abs().max() < 2000


def test_redshifts_of_the_pipeline_are_reproduced(data_dir):
    """On real spectra the fit finds Z_PIPE where it uses all pixels."""
    with open(data_dir / "dev_labels.csv") as file:
        rows = list(csv.DictReader(file))
    with np.load(data_dir / "dev_spectra.npz") as file:
        data = {name: file[name] for name in ("flux", "ivar", "cls", "trust", "run2d", "group")}
        native = float(file["loglam0"]) + float(file["dloglam"]) * np.arange(data["flux"].shape[1])
    z = np.array([float(row["z_pipe"] or "nan") for row in rows])
    wanted = (data["cls"] == "QSO") & (data["trust"] >= 2) & np.isfinite(z) & (z < 3.5)
    chosen = np.flatnonzero(wanted & np.char.startswith(data["run2d"], "v5"))
    chosen = chosen[np.unique(data["group"][chosen], return_index=True)[1]]
    simulator = Simulator(data_dir)
    pairs = [simulator.grid.rebin(native, data["flux"][i], data["ivar"][i]) for i in chosen]
    flux, ivar = (torch.from_numpy(np.stack(values)) for values in zip(*pairs, strict=True))
    found = eigenspectra_redshift(
        flux,
        ivar,
        torch.from_numpy(z[chosen]),
        simulator.library.quasars,
        simulator.loglam,
        without_forest=torch.zeros(len(chosen), dtype=torch.bool),
    )
    dv = C * (found.numpy() - z[chosen]) / (1 + z[chosen])
    assert len(chosen) > 100
    assert 1.4826 * np.median(np.abs(dv)) < 80


def test_labels_follow_the_convention(data_dir):
    """Only the redshifts of quasars change, by what lines are shifted against each other."""
    batches = [
        Simulator(data_dir, config=SimulationConfig(frame=value)).draw(300, 11)
        for value in ("sdss", "systemic")
    ]
    assert torch.equal(batches[0].flux, batches[1].flux)
    dv = C * (batches[0].z - batches[1].z) / (1 + batches[1].z)
    changed = dv != 0
    assert not changed[(batches[1].label != 0) | batches[1].is_bal | (batches[1].z >= 3.5)].any()
    assert changed.float().mean() > 0.3
    assert 30 < dv[changed].abs().median() < 250 and dv.abs().max() < 2000
