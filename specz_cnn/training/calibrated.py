"""Weights with a calibration, fitted to labelled spectra on a model grid."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace

import numpy as np

from specz_cnn.models.output import network_output, resolve_device
from specz_cnn.models.registry import load_model, save_model
from specz_cnn.redshift.calibration import calibrate
from specz_cnn.redshift.posterior import posterior

__all__ = ["CalibrationSet", "calibrate_weights"]


@dataclass(frozen=True)
class CalibrationSet:
    """Labelled spectra that took no part in a training.

    Parameters
    ----------
    flux, ivar : `~numpy.ndarray`, shape (n, n_pixels)
    labels : `~numpy.ndarray`, structured
        As in shards (:mod:`specz_cnn.training.shards`).
    weight, precision : float
        How much all of them count in probabilities, and in the errors of redshifts that are right.
    trusted : float
        How much they count in the last word on errors in ranges of redshift, which should be that of real spectra.
    """

    flux: np.ndarray
    ivar: np.ndarray
    labels: np.ndarray
    weight: float = 1.0
    precision: float = 1.0
    trusted: float = 0.0


def calibrate_weights(model, sets, output, *, check=None, tag=None, device=None, batch_size=128, data=()):
    """Fit a calibration and write the weights with it.

    Parameters
    ----------
    model : str or path-like
        Name of a packaged model, or a weights file.
    sets : sequence of CalibrationSet
    output : path-like
        Weights file to write.
    check : str or path-like, optional
        Cross-check model whose verdict enters the confidence.
    tag : str, optional
        Tag of the new weights; as before if not given.
    device : str, optional
    batch_size : int
    data : sequence of str
        What the sets are, for the record.

    Returns
    -------
    dict
        The report of `specz_cnn.redshift.calibration.calibrate`.
    """
    device = resolve_device(device)
    network = load_model(model, device=device)
    info = network.info
    flux, ivar, labels = (
        np.concatenate([getattr(item, name) for item in sets]) for name in ("flux", "ivar", "labels")
    )
    shares = [item.labels["weight"] / np.maximum(item.labels["weight"].sum(), 1e-30) for item in sets]
    found = _outputs(network, flux, ivar, batch_size)
    z_check, name = None, ""
    if check:
        other = load_model(check, device=device)
        name = other.info.name
        z_check = posterior(
            _outputs(other, flux, ivar, batch_size), bins=other.info.bins, calibration=other.info.calibration
        ).z

    def weights(name):
        return np.concatenate([getattr(item, name) * share for item, share in zip(sets, shares, strict=True)])

    calibration = calibrate(
        found,
        labels["z"].astype(np.float64),
        labels["is_quasar"],
        bins=info.bins,
        weights=weights("weight"),
        precision_weights=weights("precision"),
        error_weights=weights("trusted"),
        z_check=z_check,
        check=name,
        z_range=info.z_range,
    )
    report = dict(calibration["report"])
    calibration["report"]["data"] = list(data)
    info = replace(info, calibration=json.loads(json.dumps(calibration)), tag=tag or info.tag)
    save_model(output, network.cpu(), info)
    return report


def _outputs(network, flux, ivar, batch_size):
    """The network's output for all spectra."""
    from tqdm import tqdm

    starts = tqdm(range(0, len(flux), batch_size), desc=network.info.name, disable=None, file=sys.stderr)
    return np.concatenate(
        [network_output(network, flux[i : i + batch_size], ivar[i : i + batch_size]) for i in starts]
    )
