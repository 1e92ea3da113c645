"""How often is a redshift without any flag wrong, for input that is not what the networks were made for?

    python benchmarks/false_confidence.py --data DIRECTORY -n 2000

For each kind of input: the number of spectra, how many got no flag, and how many of these are wrong, that is off by more
than 3000 km/s, or no quasar at all.  For featureless and superposed spectra see the functions below.  The last column is
the wrong ones in a thousand inputs, with the 95 % upper limit in brackets.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from scipy.stats import gamma

from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import prepare_rebinned
from specz_cnn.simulate import Simulator
from specz_cnn.simulate.bank import Bank, resample_rows
from specz_cnn.simulate.observe import observe_spectra
from specz_cnn.velocity import RIGHT

STARS = ("A", "B", "CV", "F", "G", "K", "M", "WD")


def with_config(simulator, **changes):
    """The same simulator with other settings."""
    other = copy.copy(simulator)
    other.config = replace(simulator.config, **changes)
    return other


def of_class(simulator, index, n, seed):
    """Spectra of one class of the simulator: flux, ivar, z."""
    weights = tuple(float(i == index) for i in range(4))
    batch = with_config(simulator, class_weights=weights).draw(n, seed)
    return batch.flux, batch.ivar, batch.z


def observed(simulator, flux, seed, **changes):
    """Observe noise-free spectra with the S/N of real quasars: flux, ivar."""
    generator = torch.Generator().manual_seed(seed)
    config = replace(simulator.config, **changes)
    pick = torch.randint(len(simulator.library.line_snr), (len(flux),), generator=generator)
    snr = simulator.library.line_snr[pick].clamp(config.snr_min, config.snr_max)
    grid = simulator.grid
    return observe_spectra(flux, snr, simulator.noise, simulator.loglam, generator, config, grid.factor)


def nowhere(n):
    """Redshifts of what has none."""
    return torch.full((n,), torch.nan)


def quasars(simulator, n, seed):
    return of_class(simulator, 0, n, seed)


def pure_noise(simulator, n, seed):
    """White noise with the inverse variances of real spectra."""
    generator = torch.Generator().manual_seed(seed)
    ivar = simulator.noise[torch.randint(len(simulator.noise), (n,), generator=generator)]
    noise = torch.randn(ivar.shape, generator=generator)
    return torch.where(ivar > 0, noise * ivar.clamp(min=1e-12).rsqrt(), 0.0), ivar, nowhere(n)


def blank_sky(simulator, n, seed):
    flux, ivar, _ = of_class(simulator, 3, n, seed)
    return flux, ivar, nowhere(n)


def galaxies(simulator, n, seed):
    flux, ivar, _ = of_class(simulator, 1, n, seed)
    return flux, ivar, nowhere(n)


def stars_of(kind):
    """Stars of one spectral type, from its redrock templates."""

    def make(simulator, n, seed):
        rng = np.random.default_rng(seed)
        with fits.open(Path(simulator.directory) / "templates" / f"rrtemplate-STAR-{kind}-v0.1.fits") as hdus:
            basis, header = hdus[0].data.astype(np.float64), hdus[0].header
            known = np.asarray(hdus[1].data) if len(hdus) > 1 else None
        loglam = 1e4 * np.log10(header["CRVAL1"] + header["CDELT1"] * np.arange(basis.shape[1]))
        bank = resample_rows(loglam, basis, smooth=float(simulator.grid.factor), low=34900, high=40350)
        if known is None:
            mixture = 0.3 * rng.normal(size=(n, len(basis)))
            mixture[:, 0] += np.abs(rng.normal(size=n))
        else:
            mixture = known[rng.choice(len(known), n)]
        rows = torch.from_numpy((mixture @ bank.values.numpy()).astype(np.float32))
        rows = rows / rows.abs().mean(1, keepdim=True)
        velocity = torch.from_numpy(rng.normal(0, 4e-4, n).astype(np.float32))
        position = simulator.loglam[None, :] - 1e4 * torch.log10(1 + velocity)[:, None]
        flux = Bank(rows, bank.start).observe(torch.arange(n), position).clamp(min=-0.05)
        return *observed(simulator, flux, seed), nowhere(n)

    return make


def cosmic_rays(simulator, n, seed):
    """Quasars with one to ten hits of one or two pixels that the pipeline did not find."""
    flux, ivar, z = quasars(simulator, n, seed)
    rng = np.random.default_rng(seed)
    for i in range(n):
        for _ in range(rng.integers(1, 11)):
            start = int(rng.integers(0, flux.shape[1] - 3))
            hit = slice(start, start + int(rng.integers(1, 3)))
            sigma = ivar[i, hit].clamp(min=1e-12).rsqrt()
            flux[i, hit] += torch.where(ivar[i, hit] > 0, sigma * float(10 ** rng.uniform(0.7, 2.2)), 0.0)
    return flux, ivar, z


def blazars(simulator, n, seed):
    """Power laws without lines; no redshift can be right."""
    generator = torch.Generator().manual_seed(seed)
    x = (simulator.loglam - 37500.0) * 1e-4
    slope = 1.2 * torch.randn((n, 1), generator=generator)
    curve = 0.8 * torch.randn((n, 1), generator=generator)
    return *observed(simulator, torch.exp((slope * x + curve * x * x) * np.log(10)), seed), nowhere(n)


def superposed(simulator, n, seed):
    """Two quasars in one fibre, the fainter with a third of the flux or more; the redshift of either is right."""
    generator = torch.Generator().manual_seed(seed)
    clean = with_config(simulator, snr_min=40.0, snr_max=40.0)
    one, _, z_one = quasars(clean, n, seed)
    other, _, z_other = quasars(clean, n, seed + 1)
    share = 1 / 3 + 2 / 3 * torch.rand((n, 1), generator=generator)
    one, other = (flux / flux.abs().mean(1, keepdim=True).clamp(min=1e-6) for flux in (one, other))
    return *observed(simulator, one + share * other, seed), torch.stack([z_one, z_other], 1)


def wrong_calibration(simulator, n, seed):
    """A smooth error of the flux calibration of a factor of two or so, and a step where the two arms meet."""
    flux, ivar, z = quasars(simulator, n, seed)
    generator = torch.Generator().manual_seed(seed)
    x = 2 * (simulator.loglam - simulator.loglam[0]) / (simulator.loglam[-1] - simulator.loglam[0]) - 1
    smooth = torch.stack([x, 1.5 * x * x - 0.5, 2.5 * x**3 - 1.5 * x, torch.sin(9 * x)])
    factor = torch.exp(0.4 * torch.randn((n, 4), generator=generator) @ smooth)
    step = torch.exp(0.4 * torch.randn((n, 1), generator=generator))
    factor = torch.where(simulator.loglam > 37780.0, factor * step, factor)
    return flux * factor, ivar / factor**2, z


def half_missing(simulator, n, seed):
    """Only the blue, only the red, or only the middle half of the spectrum."""
    flux, ivar, z = quasars(simulator, n, seed)
    n_pixels = flux.shape[1]
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(0, 3, (n, 1), generator=generator) * (n_pixels // 4)
    pixel = torch.arange(n_pixels)
    inside = (pixel >= start) & (pixel < start + n_pixels // 2)
    return torch.where(inside, flux, 0.0), torch.where(inside, ivar, 0.0), z


KINDS = {
    "quasars, as trained": quasars,
    "pure noise": pure_noise,
    "blank sky": blank_sky,
    "galaxies": galaxies,
    **{f"stars, {kind}": stars_of(kind) for kind in STARS},
    "cosmic rays": cosmic_rays,
    "blazars without lines": blazars,
    "two quasars in one": superposed,
    "wrong flux calibration": wrong_calibration,
    "half of it missing": half_missing,
}


def measure(fitter, flux, ivar, z_true, size=128, detail=False):
    """Numbers of spectra without a flag, and of those among them that are wrong."""
    z_true = np.atleast_2d(z_true.double().numpy().T).T
    unflagged = wrong = 0
    for first in range(0, len(flux), size):
        rows = slice(first, first + size)
        pairs = zip(flux[rows].numpy(), ivar[rows].numpy(), strict=True)
        columns = fitter.fit([prepare_rebinned(f, i, fitter.grid) for f, i in pairs]).columns
        good = columns["flags"] == 0
        near = np.abs(np.log1p(columns["z"])[:, None] - np.log1p(z_true[rows])) < RIGHT
        unflagged += int(good.sum())
        wrong += int((good & ~near.any(1)).sum())
        for row in np.flatnonzero(good & ~near.any(1)) if detail else ():
            shown = ("z", "z_check", "confidence", "p_qso", "snr", "p_second")
            numbers = ", ".join(f"{name} {columns[name][row]:.4g}" for name in shown)
            print(f"    true {z_true[first + row]}: {numbers}", flush=True)
    return unflagged, wrong


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", required=True, help="directory with templates/, statistics/ and dev_spectra.npz"
    )
    parser.add_argument("-n", type=int, default=2000, help="spectra of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2_000_000_011, help="not one that training uses")
    parser.add_argument("--model")
    parser.add_argument("--kinds", nargs="+", help="first letters of the kinds wanted")
    parser.add_argument("--detail", action="store_true", help="show the wrong ones")
    args = parser.parse_args()
    fitter = Fitter(args.model)
    simulator = Simulator(args.data, grid=fitter.grid)
    simulator.directory = args.data
    simulator.draw(
        1, 0
    )  # the zero points of redshift are measured once, and shared by the copies with other settings
    print(f"{'kind':<24}{'n':>7}{'unflagged':>11}{'wrong':>7}   per thousand", flush=True)
    for number, (name, make) in enumerate(KINDS.items()):
        if args.kinds and not name.startswith(tuple(args.kinds)):
            continue
        unflagged = wrong = 0
        for first in range(0, args.n, 500):
            n = min(500, args.n - first)
            spectra = make(simulator, n, args.seed + 1000 * number + first)
            found = measure(fitter, *spectra, detail=args.detail)
            unflagged, wrong = unflagged + found[0], wrong + found[1]
        upper = gamma.ppf(0.95, wrong + 1)
        rate = f"{1000 * wrong / args.n:.1f} (< {1000 * upper / args.n:.1f})"
        print(f"{name:<24}{args.n:>7}{unflagged:>11}{wrong:>7}   {rate}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
