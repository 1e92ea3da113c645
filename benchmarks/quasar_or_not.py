"""Which real spectra does p_qso take for quasars, against their labels?

    python benchmarks/quasar_or_not.py --data DIRECTORY [-o FIGURE]

Completeness and purity of ``p_qso`` > 0.5 on the labelled spectra, each object with weight one, for both halves; then every
spectrum that contradicts its label, with what the pipeline says of it, and, with -o, its picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from accuracy import real_spectra
from astropy.table import Table

from specz_cnn import decode_flags, fit_redshifts_cnn
from specz_cnn.evaluate import split_half
from specz_cnn.evaluate.figure_style import ORANGE, prepared_figure, styled
from specz_cnn.results.lines import LINES
from specz_cnn.results.plotting import save_figure, smooth_flux

_SEYFERT = 0.2  # redshift below which a label QSO may be a galaxy with an active nucleus


def shares(quasar, called, weight):
    """Completeness and purity in words."""
    both = (quasar & called) @ weight
    return f"completeness {both / (quasar @ weight):.1%} of {quasar @ weight:.0f}, purity {both / (called @ weight):.1%}"


@styled
def draw(spectra, titles, redshifts):
    """A panel for each spectrum, with the lines at our redshift."""
    n_rows = -(-len(spectra) // 2)
    figure = prepared_figure(None, 15, 1.5 * n_rows)
    for axes, s, title, z in zip(figure.subplots(n_rows, 2).flat, spectra, titles, redshifts, strict=False):
        wavelength, flux = 10**s.loglam, smooth_flux(s.flux, s.ivar, 3.0)
        good = np.isfinite(flux) & (s.ivar > 0)
        axes.plot(wavelength[good], flux[good], color="0.25", lw=0.6)
        low, high = np.percentile(flux[good], (0.5, 99.7))
        axes.set(ylim=(min(low, 0), high * 1.1), xlim=(wavelength[good][0], wavelength[good][-1]), yticks=[])
        for line in LINES:
            axes.axvline(line.rest_wavelength * (1 + z), color=ORANGE, lw=0.8, ls="--")
        axes.set_title(title, fontsize=7)
        axes.tick_params(labelsize=7)
    return figure


def main():
    """Print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="with dev_spectra.npz and dev_labels.csv")
    parser.add_argument("-o", "--output", help="picture of the spectra that contradict")
    args = parser.parse_args()
    spectra = real_spectra(Path(args.data) / "dev_spectra.npz")
    table = fit_redshifts_cnn(spectra)
    labels = Table.read(Path(args.data) / "dev_labels.csv")
    with np.load(Path(args.data) / "dev_spectra.npz") as file:
        group, z, trust = file["group"], file["z"], file["trust"]
        quasar, boss = file["cls"] == "QSO", np.asarray(labels["survey"]) == "BOSS/eBOSS"
    called, free = np.asarray(table["p_qso"]) > 0.5, np.asarray(table["flags"]) == 0
    half = split_half(group)
    known = trust >= 1
    _, inverse, count = np.unique(group, return_inverse=True, return_counts=True)
    weight = 1 / count[inverse]
    parts = {name: known & (half == name) for name in ("calibration", "validation")}
    parts |= {"validation, BOSS": parts["validation"] & boss, "both": known}
    parts |= {f"both, no quasars at z < {_SEYFERT}": known & ~(quasar & (z < _SEYFERT))}
    for name, part in parts.items():
        print(f"{name:34s} {shares(quasar[part], called[part], weight[part])}")
        print(
            f"{'':34s} without a flag: {(free & ~quasar & part).sum()} of {(~quasar & part).sum()} spectra of others"
        )
    rows = np.flatnonzero(known & (quasar != called))
    rows = rows[np.lexsort((z[rows], half[rows], quasar[rows]))]
    titles = []
    for i in rows:
        s, row = spectra[i], table[i]
        label = f"{labels['cls'][i]} {labels['subclass'][i] or ''} z {z[i]:.4f} (trust {trust[i]})"
        flags = " ".join(decode_flags(int(row["flags"]))) or "no flag"
        titles.append(
            f"{s.plate}-{s.mjd}-{s.fiber:04d} {half[i]:11s} {label}, here p_qso {row['p_qso']:.2f} z {row['z']:.4f} {flags}"
        )
        print(titles[-1])
    if args.output:
        save_figure(
            draw([spectra[i] for i in rows], titles, np.asarray(table["z"])[rows]), args.output, dpi=70
        )


if __name__ == "__main__":
    main()
