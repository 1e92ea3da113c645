"""What `ablations.py` and `ingredients.py` judge networks by: the same real and simulated spectra for all of them.

Redshifts are those of the network alone, without calibration or the fit of eigenspectra, in the systemic frame.  Samples are
luminous quasars at 3.5 < z < 6.6, quasars of BOSS and eBOSS, and stars, galaxies and sky fibres, which should not be
taken for quasars.  A redshift is *sure* if 90 % of p(z) lie within 3000 km/s of it and a quasar is more probable than not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from labelled_shards import read
from realism import real_quasars
from scipy.special import logit

from specz_cnn.evaluate import split_half
from specz_cnn.redshift.posterior import posterior
from specz_cnn.velocity import OUTLIER_VELOCITY, nmad, velocity_difference

SURE = logit(0.9)
_RESAMPLES = 400


@dataclass(frozen=True)
class Sample:
    """Spectra to judge by: ``flux, ivar`` (n, n_pixels); ``z`` (n,), NaN for what is no quasar; ``kind`` (n,), names."""

    flux: np.ndarray
    ivar: np.ndarray
    z: np.ndarray
    kind: np.ndarray


def _rebinned(grid, data, rows):
    pairs = [grid.rebin(data["loglam"], data["flux"][i], data["ivar"][i]) for i in rows]
    return (np.stack(part).astype(np.float32) for part in zip(*pairs, strict=True))


def real_samples(directory, grid):
    """The real samples by name: ``high``, ``boss`` and ``others``."""
    directory = Path(directory)
    high = []
    for name in ("xq_spectra.npz", "z6_spectra.npz"):
        data = read(directory / name)
        flux, ivar = _rebinned(grid, data, range(len(data["flux"])))
        high.append((flux, ivar, data["z_systemic"], data.get("sample", np.full(len(flux), "z ~ 6"))))
    flux, ivar, z, _ = real_quasars(directory / "dev_spectra.npz", grid)
    samples = {
        "high": Sample(*(np.concatenate(part) for part in zip(*high, strict=True))),
        "boss": Sample(flux.numpy(), ivar.numpy(), z.numpy(), np.full(len(z), "BOSS")),
    }
    data = read(directory / "dev_spectra.npz")
    flux, ivar = _rebinned(grid, data, np.flatnonzero((data["cls"] != "QSO") & (data["trust"] >= 1)))
    data = read(directory / "sky_fibres.npz")
    # The others took part in the training as noise.
    kept = np.flatnonzero(split_half(data["plate_mjd_fiber"][:, 0]) == "validation")
    sky = _rebinned(grid, data, kept)
    flux, ivar = (np.concatenate(pair) for pair in zip((flux, ivar), sky, strict=True))
    kind = np.repeat(["other", "sky"], [len(flux) - len(kept), len(kept)])
    samples["others"] = Sample(flux, ivar, np.full(len(flux), np.nan), kind)
    return samples


def simulated_sample(simulator, n, seed, *, only_bal=False):
    """Simulated spectra as a sample; with ``only_bal`` those with broad absorption, of three times as many."""
    made = simulator.draw(3 * n if only_bal else n, seed)
    z = torch.where(made.label == 0, made.z, torch.nan)
    rows = made.is_bal if only_bal else torch.ones(len(z), dtype=torch.bool)
    kind = np.array(["quasar", "galaxy", "star", "sky"])[made.label[rows]]
    return Sample(made.flux[rows].numpy(), made.ivar[rows].numpy(), z[rows].double().numpy(), kind)


def judge(network, preprocess, bins, sample):
    """Velocity difference (km/s), pull and sureness of each spectrum of a sample, ready for JSON."""
    with torch.inference_mode():
        x = preprocess(torch.from_numpy(sample.flux), torch.from_numpy(sample.ivar))
        output = torch.cat([network(part) for part in x.split(128)]).double().numpy()
    found = posterior(output, bins=bins)
    sure = (found.score > SURE) & (found.p_qso_logit > 0)
    result = {"sure": sure.astype(int).tolist()}
    if not np.isnan(sample.z).all():
        pull = (found.z - sample.z) / found.z_err
        result |= {
            "dv": _whole(velocity_difference(found.z, sample.z)),
            "pull": [None if np.isnan(p) else round(float(p), 2) for p in pull],
            "kind": sample.kind.tolist(),
        }
    return result


def _whole(values):
    return [None if np.isnan(v) else round(float(v)) for v in values]


def arrays(judged):
    """The inverse of what made it ready for JSON."""
    return {name: np.array(values, float if name != "kind" else str) for name, values in judged.items()}


def figures(judged, rows=None):
    """Figures of merit of one judged sample, or of some of its rows: fractions, and km/s."""
    part = {name: values if rows is None else values[rows] for name, values in judged.items()}
    if "dv" not in part:
        return {"sure": part["sure"].mean()}
    dv, quasar = part["dv"], np.isfinite(part["dv"])
    near = np.abs(dv) < OUTLIER_VELOCITY
    wrong = (part["sure"] > 0) & ~near
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "within_600": (np.abs(dv[quasar]) < 600).mean() if quasar.any() else np.nan,
            "within_3000": near[quasar].mean() if quasar.any() else np.nan,
            "median": np.median(dv[near]) if near.any() else np.nan,
            "nmad": nmad(dv[near]),
            "pull": nmad(part["pull"][near]),
            "wrong": wrong.mean(),
        }


def difference(first, second, name, seed=0):
    """Difference of a figure between two networks on the same spectra, and its error from resampling the spectra."""
    rng = np.random.default_rng(seed)
    n = len(first["sure"])

    def one(rows=None):
        return figures(first, rows)[name] - figures(second, rows)[name]

    return one(), np.nanstd([one(rng.integers(0, n, n)) for _ in range(_RESAMPLES)])


def records(path):
    """What a file of results holds, a dict for each line; none if there is no such file."""
    path = Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record(path, entry):
    """Add a line to a file of results."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(entry) + "\n")
