"""Is the redshift that of the narrow lines?  [O III] 5008 of real low-redshift quasars against the networks and the labels.

    python benchmarks/narrow_lines.py --data DIRECTORY [--models rnet-e rnet-pz]

The line is found in the spectrum itself, within 1500 km/s of the label, as the flux-weighted mean of the pixels above half
of its peak; only lines with a peak of more than ten times the noise count, one spectrum for each object.

The last line says where Mg II has its maximum at the redshift of the narrow lines, where both are seen (z > 0.45), against its
wavelength in the laboratory: the frame of its maximum that ``z_sys`` is in, and of MGII_MAXIMUM.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from accuracy import real_spectra

import specz_cnn
from specz_cnn.evaluate import redshift_metrics
from specz_cnn.results.lines import LINES, line_table
from specz_cnn.velocity import SPEED_OF_LIGHT

_LINE = 5008.24  # Angstrom, vacuum
_BOTH_SEEN = 0.45  # redshift from which on Mg II is in view
#: Angstrom: where Mg II has its maximum at the redshift of the narrow lines, with its doublet in the ratio 1.2 (Laor A. et al.
#: 1997, ApJ 489, 656) in place of the 2 of thin gas, 2798.75.
MGII_MAXIMUM = 2799.62


def narrow_line_redshift(spectrum, z):
    """Redshift of [O III] 5008 near ``z``; NaN if it is not clearly seen."""
    wavelength = 10**spectrum.loglam
    velocity = SPEED_OF_LIGHT * (wavelength / (_LINE * (1 + z)) - 1)
    good = spectrum.ivar > 0
    line = good & (np.abs(velocity) < 1500)
    # Not between the lines of the doublet, and not under the other one at -2870 km/s.
    side = good & (((velocity > 1500) & (velocity < 4000)) | ((velocity > -2200) & (velocity < -1500)))
    if line.sum() < 35 or side.sum() < 20:
        return np.nan
    continuum = np.polyval(np.polyfit(velocity[side], spectrum.flux[side], 1), velocity[line])
    excess = spectrum.flux[line] - continuum
    peak = excess.argmax()
    if excess[peak] < 10 / np.sqrt(spectrum.ivar[line][peak]):
        return np.nan
    place = velocity[line]
    high = (excess > 0.5 * excess[peak]) & (np.abs(place - place[peak]) < 500)
    centre = np.average(place[high], weights=excess[high])
    return (1 + z) * (1 + centre / SPEED_OF_LIGHT) - 1


def mgii_redshift(spectrum, z, wavelength=MGII_MAXIMUM):
    """Redshift of the maximum of Mg II near ``z``; NaN if it is not clearly seen."""
    rows = line_table(spectrum.loglam, spectrum.flux, spectrum.ivar, z)
    row = rows[rows["name"] == "MgII"][0]
    if not (row["snr"] > 10 and row["velocity_err"].value < 150):
        return np.nan
    return row["peak"].value / wavelength - 1


def difference(found, z):
    """Median and NMAD of the difference of redshifts as a line of text, and the median in km/s."""
    m = redshift_metrics(found, z)
    half = 0.5 * (m["bias_hi"] - m["bias_lo"])
    return f"median {m['bias']:+5.0f} +- {half:.0f} km/s, NMAD {m['nmad']:.0f}", m["bias"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_spectra.npz")
    parser.add_argument("--models", nargs="+", default=["rnet-e", "rnet-pz"])
    args = parser.parse_args()
    spectra = real_spectra(Path(args.data) / "dev_spectra.npz")
    with np.load(Path(args.data) / "dev_spectra.npz") as file:
        z, group, wanted = file["z"], file["group"], (file["cls"] == "QSO") & (file["trust"] >= 2)
    rows = np.flatnonzero(wanted & (z < 1.0))
    rows = rows[np.unique(group[rows], return_index=True)[1]]
    narrow = np.array([narrow_line_redshift(spectra[i], z[i]) for i in rows])
    rows, narrow = rows[np.isfinite(narrow)], narrow[np.isfinite(narrow)]
    estimates = {"label (pipeline)": z[rows]}
    for model in args.models:
        estimates[model] = np.asarray(
            specz_cnn.fit_redshifts_cnn([spectra[i] for i in rows], model=model)["z"]
        )
    print(f"{len(rows)} quasars at z < 1 with [O III]")
    for name, values in estimates.items():
        print(f"{name:18s} {difference(values, narrow)[0]}")
    both = [(spectra[i], z) for i, z in zip(rows, narrow, strict=True) if z > _BOTH_SEEN]
    laboratory = next(line.rest_wavelength for line in LINES if line.name == "MgII")
    found = np.array([mgii_redshift(*pair, laboratory) for pair in both])
    seen = np.isfinite(found)
    text, median = difference(found[seen], np.array([z for _, z in both])[seen])
    median -= SPEED_OF_LIGHT * (MGII_MAXIMUM / laboratory - 1)
    print(f"Mg II from {laboratory} Å, in {seen.sum()} of them: {text}; from {MGII_MAXIMUM} Å: {median:+.0f}")


if __name__ == "__main__":
    main()
