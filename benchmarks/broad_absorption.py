"""Redshifts of real quasars with broad absorption lines (BALs).

    python benchmarks/broad_absorption.py --data DIRECTORY

No label says which of the labelled quasars have them, so they are found here: the absorption index of Trump et al. 2006 (ApJS
165, 1), troughs of C IV at least 1000 km/s wide and 10 % deep at 0 to 29,000 km/s, here with 40 % somewhere, and significant, over a continuum of eight
eigenspectra that is fitted again without the troughs.  Prints each with its index, its balnicity index (Weymann et al. 1991, ApJ 373,
23), and redshifts, then the figures of BALs and of the others that show the same wavelengths.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from accuracy import real_spectra
from high_redshift import spectra as on_lattice
from scipy.ndimage import uniform_filter1d

from specz_cnn import decode_flags, fit_redshifts_cnn
from specz_cnn.evaluate import split_half
from specz_cnn.redshift.measure import GRID, packaged_measurement
from specz_cnn.velocity import OUTLIER_VELOCITY, SPEED_OF_LIGHT, nmad, velocity_difference

_CIV = 1549.06  # Angstrom
_FARTHEST = 29_000.0  # km/s
_ROUNDS = 6  # of fitting the continuum
_SIGNIFICANT = 10.0  # sigma of a trough as a whole
_DEEP = 0.4  # of the continuum, somewhere in a trough: shallow ones may be the continuum's fault


def indices(flux, ivar, z):
    """Absorption and balnicity index of C IV in km/s; NaN where less than half of the range is covered."""
    velocity = SPEED_OF_LIGHT * (1 - GRID.wavelength / (_CIV * (1 + z)))
    inside = (velocity > 0) & (velocity < _FARTHEST)
    if (inside & (ivar > 0)).sum() < 0.5 * _FARTHEST / 276:
        return np.nan, np.nan
    use = ivar.copy()
    fits = packaged_measurement().describing
    u = torch.tensor([np.log1p(z)])
    for _ in range(_ROUNDS):
        rows = (torch.from_numpy(np.float32(values))[None] for values in (flux, use))
        model = fits.fit(*rows, u, GRID)[0][0].numpy()
        depth = 1 - uniform_filter1d(flux, 3) / np.maximum(model, 1e-6)
        use = np.where((velocity > -1500) & (velocity < _FARTHEST) & (depth > 0.1), 0, ivar).astype(
            np.float32
        )
    width = np.abs(np.gradient(velocity))
    depth, noise = 1 - flux / model, 1 / (np.sqrt(np.maximum(ivar, 1e-12)) * model)
    smooth = 1 - uniform_filter1d(flux, 3) / model
    good = inside & (ivar > 0)
    absorption = balnicity = 0.0
    for part in _runs((depth > 0.1) & good):
        sigma = np.sqrt(np.sum((noise[part] * width[part]) ** 2))
        clear = np.sum(depth[part] * width[part]) > _SIGNIFICANT * sigma and smooth[part].max() > _DEEP
        if width[part].sum() > 1000 and clear:
            absorption += np.sum(depth[part] * width[part])
            # The first 2000 km/s do not count, nor what is nearer than 3000 or farther than 25,000.
            order = np.flatnonzero(part)[np.argsort(velocity[part])]
            order = order[(velocity[order] > 3000) & (velocity[order] < 25_000)]
            counts = order[np.cumsum(width[order]) > 2000]
            balnicity += np.sum((1 - (1 - depth[counts]) / 0.9) * width[counts])
    return absorption, balnicity


def _runs(where):
    """Masks of the stretches in which something holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
    for first, last in edges.reshape(-1, 2):
        mask = np.zeros(len(where), bool)
        mask[first:last] = True
        yield mask


def summary(name, dv, error, free):
    """One line of figures."""
    if not len(dv):
        return
    near = np.abs(dv) < OUTLIER_VELOCITY
    print(
        f"{name:44s} {len(dv):4d} {(np.abs(dv) < 600).mean():6.1%} {near.mean():6.1%} {np.median(dv):+6.0f} {nmad(dv[near]):5.0f}"
        f" {nmad((dv / error)[near]):5.2f} {free.sum():4d} {(free & ~near).sum():3d}"
    )


def judge(title, spectra, names, z, half, column):
    """Find the BALs of a sample, print them, and the figures of both kinds."""
    table = fit_redshifts_cnn(spectra)
    pairs = [GRID.rebin(s.loglam, s.flux, s.ivar) for s in spectra]
    index = np.array([indices(*pair, x) for pair, x in zip(pairs, z, strict=True)])
    found, error = np.asarray(table[column]), np.asarray(table[f"{column}_err"])
    dv, error = velocity_difference(found, z), SPEED_OF_LIGHT * error / (1 + z)
    free, seen, bal = np.asarray(table["flags"]) == 0, np.isfinite(index[:, 0]), index[:, 0] > 0
    print(
        f"{title}: {seen.sum()} show the range of C IV troughs, {(index[:, 1] > 0).sum()} have a balnicity index"
    )
    for i in np.flatnonzero(bal):
        flags = " ".join(decode_flags(int(table["flags"][i])))
        print(
            f"  {names[i]:30s} {half[i]:11s} AI {index[i, 0]:5.0f} BI {index[i, 1]:5.0f}  z {z[i]:.4f}, here {found[i]:.4f}"
            f" ({dv[i]:+.0f} ± {error[i]:.0f}) {flags}"
        )
    for which in ("calibration", "validation"):
        for name, part in (("BAL", seen & bal), ("no BAL", seen & ~bal)):
            part = part & (half == which)
            summary(f"{title}, {name}, {which}", dv[part], error[part], free[part])
    summary(f"{title}, BAL, both", dv[bal], error[bal], free[bal])
    summary(f"{title}, no BAL, both", dv[seen & ~bal], error[seen & ~bal], free[seen & ~bal])


def main():
    """Print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz and xq_spectra.npz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(args.data) / "dev_spectra.npz"
    spectra = real_spectra(path)
    with np.load(path) as file:
        z, snr, group = file["z"], file["sn"], file["group"]
        rows = np.flatnonzero((file["cls"] == "QSO") & (file["trust"] >= 2) & (z > 1.5) & (z < 5.4))
    rows = rows[np.argsort(-snr[rows], kind="stable")]
    rows = rows[np.unique(group[rows], return_index=True)[1]]
    print(f"{'':44s}    n    600   3000 median  NMAD  pull free bad")
    spectra = [spectra[i] for i in rows]
    names = [f"{s.plate}-{s.mjd}-{s.fiber:04d}" for s in spectra]
    judge("SDSS, z", spectra, names, z[rows], split_half(group[rows]), "z")
    spectra, data = on_lattice(Path(args.data) / "xq_spectra.npz")
    judge("XQ, z_sys", spectra, data["name"], data["z_systemic"], split_half(data["name"]), "z_sys")


if __name__ == "__main__":
    main()
