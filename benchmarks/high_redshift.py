"""Redshifts of luminous quasars at 3.5 < z < 6.6 against Mg II, [C II] and CO, and sky fibres.

    python benchmarks/high_redshift.py --data DIRECTORY [--model rnet-e] [--cross-check rnet-pz] [--half validation]

Prints for each sample (XQ-100, XQz5, XQR-30, and six others at z ~ 6), for ``z`` and ``z_sys``: number, median and NMAD of
the velocity difference, pull, share of the truths inside the 68 % interval, number unflagged, unflagged and off by more
than 3000 km/s, and the slope of the difference with the blueshift of C IV; then how many sky fibres pass unflagged,
and how many of those that `specz_cnn.training.recipe.outside_validation` keeps from training.

References
----------
Lopez S. et al. 2016, A&A 594, A91 (XQ-100); Lai S. et al. 2023, 2024 (XQz5); D'Odorico V. et al. 2023, MNRAS 523, 1399
(XQR-30); Eilers A.-C. et al. 2020, ApJ 900, 37.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from labelled_shards import read

from specz_cnn import SpectrumArrays, fit_redshifts_cnn
from specz_cnn.evaluate import split_half
from specz_cnn.training.recipe import outside_validation
from specz_cnn.velocity import OUTLIER_VELOCITY, nmad, velocity_difference


def spectra(path):
    """The rows of a file of spectra on one lattice, and everything else in the file."""
    data = read(path)
    return [
        SpectrumArrays(data["loglam"], *row) for row in zip(data["flux"], data["ivar"], strict=True)
    ], data


def report(name, table, z_true, blueshift):
    """One line for each definition of the redshift."""
    free = np.asarray(table["flags"]) == 0
    for column in ("z", "z_sys"):
        z, error, low, high = (np.asarray(table[column + end]) for end in ("", "_err", "_lo", "_hi"))
        dv = velocity_difference(z, z_true)
        near = np.abs(dv) < OUTLIER_VELOCITY
        inside = ((low <= z_true) & (z_true <= high)).mean()
        known = near & np.isfinite(blueshift)
        slope = np.polyfit(blueshift[known], dv[known], 1)[0] if known.sum() > 5 else np.nan
        print(
            f"{name:8} {column:6} {len(z):3d} {np.median(dv):+7.0f} {nmad(dv[near]):6.0f}"
            f" {nmad(((z - z_true) / error)[near]):5.2f} {inside:5.2f} {free.sum():4d}"
            f" {(free & ~near).sum():3d} {slope:+6.2f}"
        )


def main():
    """Fit and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with xq_spectra.npz, z6_spectra.npz ...")
    parser.add_argument("--model", default="rnet-e")
    parser.add_argument("--cross-check", default="rnet-pz")
    parser.add_argument("--half", choices=("calibration", "validation"), help="one half of the objects only")
    args = parser.parse_args()
    models = {"model": args.model, "cross_check": args.cross_check}
    print("sample   column   n  median   NMAD  pull  68 % free bad  slope")
    for file in ("xq_spectra.npz", "z6_spectra.npz"):
        rows, data = spectra(Path(args.data) / file)
        table = fit_redshifts_cnn(rows, **models)
        sample = data.get("sample", np.full(len(rows), "z ~ 6"))
        blueshift = data.get("civ_blueshift", np.full(len(rows), np.nan))
        wanted = np.ones(len(rows), bool) if args.half is None else split_half(data["name"]) == args.half
        for name in np.unique(sample):
            chosen = (sample == name) & wanted
            report(name, table[chosen], data["z_systemic"][chosen], blueshift[chosen])
    path = Path(args.data) / "sky_fibres.npz"
    rows, _ = spectra(path)
    free = np.asarray(fit_redshifts_cnn(rows, **models)["flags"]) == 0
    apart = ~outside_validation(path)
    print(
        f"sky fibres unflagged: {free.sum()} of {len(rows)}; of plates that no recipe trains on: {(free & apart).sum()} of {apart.sum()}"
    )


if __name__ == "__main__":
    main()
