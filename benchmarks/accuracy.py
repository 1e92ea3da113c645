"""The accuracy figures of the documentation: labelled real spectra, and a simulated sample like DR16.

    python benchmarks/accuracy.py --data DIRECTORY [--models rnet-e rnet-pz rnet] [-n 20000] [-o DIRECTORY]

``DIRECTORY`` holds ``dev_spectra.npz``, ``dev_labels.csv``, ``templates/`` and ``statistics/``.  Real quasars are judged on the
validation half, which nothing was fitted to; each object counts once.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.table import QTable

import specz_cnn
from specz_cnn import SpectrumArrays
from specz_cnn.evaluate import evaluate_results, match_results, read_labels, redshift_metrics
from specz_cnn.io.bitmask import bad_pixels
from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import Prepared, prepare
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.velocity import velocity_difference

_SEED = 20_240_601
_NAMES = ("plate", "mjd", "fiber")
_Z_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.1)
_SNR_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 50.0)


def real_spectra(path):
    """The labelled real spectra as `SpectrumArrays`."""
    with np.load(path) as file:
        data = {name: file[name] for name in file}
    loglam = float(data["loglam0"]) + float(data["dloglam"]) * np.arange(data["flux"].shape[1])
    spectra = []
    for i in range(len(data["z"])):
        bad = bad_pixels(data["flux"][i], data["ivar"][i], data["and_mask"][i])
        ivar = np.where(bad, 0, data["ivar"][i]).astype(np.float32)
        identity = {name: int(data[name][i]) for name in ("plate", "mjd", "fiber")}
        spectra.append(SpectrumArrays(loglam, data["flux"][i], ivar, **identity))
    return spectra


def fit_real(spectra, model, measure=True):
    """Results table of the real spectra, their p(z), and its redshifts."""
    fitter = Fitter(model, measure=measure)
    batches = [
        fitter.fit([prepare(spectrum, fitter.grids) for spectrum in spectra[first : first + 128]])
        for first in range(0, len(spectra), 128)
    ]
    pdf = np.concatenate([batch.pdf for batch in batches])
    z_grid = np.expm1((np.arange(pdf.shape[1]) + 0.5) * batches[0].step)
    return specz_cnn.fit_redshifts_cnn(spectra, model=model, measure=measure), pdf, z_grid


def report_covered(results, path):
    """Print how many quasars of both halves are right, of those with half of the wavelength range or more."""
    with np.load(path) as file:
        label, group, good = file["z"], file["group"], (file["cls"] == "QSO") & (file["trust"] >= 2)
    use = good & (np.asarray(results["coverage"]) > 0.5)
    _, inverse, count = np.unique(group[use], return_inverse=True, return_counts=True)
    dv = np.abs(velocity_difference(np.asarray(results["z"])[use], label[use]))
    shares = [np.average(dv < limit, weights=1 / count[inverse]) for limit in (600, 3000, 6000)]
    print(
        f"--- both halves, half of the range covered: {use.sum()} spectra of {len(count)} objects, within 600, 3000, 6000 km/s "
        f"{' '.join(f'{share:.1%}' for share in shares)}; beyond 6000: {(dv >= 6000).sum()} spectra"
    )


def fit_simulated(simulator, n, model, cross_check, measure=True):
    """Fit simulated spectra batch by batch: the columns of the results, and the truth."""
    fitter = Fitter(model, cross_check, measure=measure)
    columns, truth = [], []
    for number, first in enumerate(range(0, n, 512)):
        batch = simulator.draw(min(512, n - first), _SEED + number)
        flux, ivar = batch.flux.numpy(), batch.ivar.numpy()
        good = ivar > 0
        with np.errstate(invalid="ignore"):
            snr = [
                float(np.median(f[g] * np.sqrt(v[g] / 4))) if g.any() else 0.0
                for f, v, g in zip(flux, ivar, good, strict=True)
            ]
        prepared = [Prepared(flux[i], ivar[i], snr[i], float(good[i].mean())) for i in range(len(flux))]
        fit = fitter.fit(prepared)
        columns.append({name: np.asarray(fit.columns[name]) for name in _COLUMNS})
        truth.append(
            {
                "z_true": batch.z.numpy(),
                "label": batch.label.numpy(),
                "snr_true": batch.snr.numpy(),
                "bal": batch.is_bal.numpy(),
            }
        )

    def join(parts):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return QTable(join(columns) | join(truth))


_COLUMNS = ("z", "z_err", "z_lo", "z_hi", "confidence", "p_qso", "z_check", "snr", "coverage", "flags")


def _row(name, t):
    m = redshift_metrics(t["z"], t["z_true"])
    dv = velocity_difference(t["z"], t["z_true"])
    pull = (t["z"] - t["z_true"]) / t["z_err"]
    inside = ((t["z_lo"] <= t["z_true"]) & (t["z_true"] <= t["z_hi"])).mean()
    free = t["flags"] == 0
    wrong = int((np.abs(dv[free]) > 3000).sum())
    near = np.abs(dv) < 3000
    spread = 1.4826 * np.median(np.abs(pull[near])) if near.any() else np.nan
    print(
        f"{name:16s} {len(t):6d}  {(np.abs(dv) < 600).mean():6.3f} {(np.abs(dv) < 900).mean():6.3f} {near.mean():6.4f} "
        f"{(np.abs(dv) < 6000).mean():6.4f} {m['bias'][0] if np.ndim(m['bias']) else m['bias']:6.0f} "
        f"{m['nmad'][0] if np.ndim(m['nmad']) else m['nmad']:6.0f} {spread:6.2f} {inside:6.3f} {free.mean():6.3f} {wrong:4d}"
    )


def report_simulated(table, title):
    """Print metrics by redshift, S/N and class, and the flatness of N(z)."""
    quasar = table["label"] == 0
    t = table[quasar]
    print(
        f"\n{title}\n{'sample':16s} {'n':>6s}   w600  w.003  w.01  w6000   bias   nmad   pull   in68  unfl wrong"
    )
    _row("all", t)
    _row("BAL", t[t["bal"]])
    for low, high in pairwise(_Z_EDGES):
        part = t[(t["z_true"] >= low) & (t["z_true"] < high)]
        if len(part) > 20:
            _row(f"z {low:g}-{high:g}", part)
    for low, high in pairwise(_SNR_EDGES):
        part = t[(t["snr_true"] >= low) & (t["snr_true"] < high)]
        if len(part) > 20:
            _row(f"S/N {low:g}-{high:g}", part)
    if (~quasar).any():
        called = table["p_qso"] > 0.5
        print(
            f"completeness {called[quasar].mean():.4f}, purity {(called & quasar).sum() / called.sum():.4f}; "
            f"unflagged non-quasars {int(((table['flags'] == 0) & ~quasar).sum())} of {int((~quasar).sum())}"
        )
    edges = np.arange(0, 7.3, 0.2)
    true, found = np.histogram(t["z_true"], edges)[0], np.histogram(t["z"], edges)[0]
    used = true + found > 10
    # A spectrum that stays in its bin adds no noise: only those that moved in or out do.
    stay = np.histogram(t["z_true"][np.digitize(t["z"], edges) == np.digitize(t["z_true"], edges)], edges)[0]
    moved = (true - stay) + (found - stay)
    deviation = (found - true)[used] / np.sqrt(true[used] + 1.0)
    print(
        f"N(z), bins of 0.2: largest |found - true| / sqrt(true) {np.abs(deviation).max():.2f}, rms {deviation.std():.2f}, "
        f"in bins with {moved[used].sum()} moved of {2 * true[used].sum()}"
    )


def main():
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", nargs="+", default=["rnet-e", "rnet-pz", "rnet"])
    parser.add_argument("-n", type=int, default=20_000, help="simulated spectra; 0 for none")
    parser.add_argument("--half", default="validation", choices=("validation", "calibration"))
    parser.add_argument(
        "--no-measure", dest="measure", action="store_false", help="the networks' own redshifts"
    )
    parser.add_argument("-o", "--output", help="directory for the results tables and figures")
    args = parser.parse_args()
    data = Path(args.data)
    spectra = real_spectra(data / "dev_spectra.npz")
    for model in args.models:
        print(f"\n=== {model}, real spectra")
        results, pdf, z_grid = fit_real(spectra, model, args.measure)
        place = {tuple(int(row[name]) for name in _NAMES): i for i, row in enumerate(results)}
        for survey in ("BOSS/eBOSS", None):
            labels = read_labels(
                data / "dev_labels.csv", where=None if survey is None else {"survey": survey}
            )
            matched = match_results(results, labels)
            rows = [place[tuple(int(row[name]) for name in _NAMES)] for row in matched]
            judged = evaluate_results(matched, half=args.half, pdf=pdf[rows], z_grid=z_grid)
            print(f"--- {survey or 'all surveys'}, {args.half} half")
            print(judged.report())
            if args.output:
                judged.write(Path(args.output) / f"{model}-{(survey or 'all').split('/')[0].lower()}")
        report_covered(results, data / "dev_spectra.npz")
        if args.output:
            results.write(Path(args.output) / f"{model}.ecsv", overwrite=True)
    if not args.n:
        return
    # Like DR16: its redshifts and S/N as they are; and every redshift alike.
    samples = {
        "like DR16": SimulationConfig(dr16_fraction=1.0, snr_scatter=0.0, damaged=0.0),
        "uniform in redshift": SimulationConfig(dr16_fraction=0.0, snr_scatter=0.0, damaged=0.0),
    }
    for title, config in samples.items():
        simulator = Simulator(data, config=config)
        for model in args.models:
            report_simulated(
                fit_simulated(simulator, args.n, model, "default", args.measure),
                f"=== {model}, simulated, {title}",
            )


if __name__ == "__main__":
    main()
