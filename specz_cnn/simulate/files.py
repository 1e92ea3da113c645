"""Simulated spectra as spec-lite files, labelled as such."""

from __future__ import annotations

from pathlib import Path

from specz_cnn.io import write_spec_lite
from specz_cnn.io.names import spec_file_name
from specz_cnn.simulate.simulator import CLASSES

__all__ = ["write_simulated"]


def write_simulated(directory, batch, row, grid, *, number):
    """Write one row of a batch.

    Parameters
    ----------
    directory : path-like
    batch : SimulatedBatch
    row : int
    grid : ModelGrid
        Of native pixels.
    number : int
        Running number; gives plate 1, MJD 50000 and up, fibre 1 to 1000.

    Returns
    -------
    dict
        A row of a labels table: ``file, plate, mjd, fiber, z, cls, snr, is_bal, trust``.
    """
    mjd, fiber = 50000 + number // 1000, 1 + number % 1000
    name = spec_file_name(1, mjd, fiber)
    flux, ivar = batch.flux[row].cpu().numpy(), batch.ivar[row].cpu().numpy()
    z, snr, kind = float(batch.z[row]), float(batch.snr[row]), CLASSES[int(batch.label[row])]
    used = ivar > 0
    first, last = used.argmax(), used.size - used[::-1].argmax()
    if not used.any():
        first, last = 0, used.size
    # A typical flux of three in 1e-17 erg / (s cm2 Angstrom), like a faint BOSS quasar.
    scale = 3.0 / max(abs(flux[used]).mean() if used.any() else 1.0, 1e-6)
    header = {
        "SIMULATE": (True, "simulated spectrum, not an observation"),
        "Z_TRUE": (z, "redshift of the simulation"),
        "SIM_CLS": (kind, "class of the simulation"),
        "SIM_SNR": (snr, "S/N per pixel of the simulation"),
    }
    write_spec_lite(
        Path(directory) / name,
        grid.loglam[first:last],
        flux[first:last] * scale,
        ivar[first:last] / scale**2,
        header=header,
        overwrite=True,
    )
    return {
        "file": name,
        "plate": 1,
        "mjd": mjd,
        "fiber": fiber,
        "z": z,
        "cls": kind,
        "snr": snr,
        "is_bal": bool(batch.is_bal[row]),
        "trust": 3,
    }
