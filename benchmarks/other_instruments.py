"""Redshifts of spectra that are not SDSS's: real ones of other instruments, and SDSS's made like theirs.

    python benchmarks/other_instruments.py --data DIRECTORY [--rows N]

DIRECTORY holds ``desi_spectra.npz``, ``xq_spectra.npz``, ``z6_spectra.npz`` and ``dev_spectra.npz``, and the files of other
surveys in ``formats``.  The second part takes real SDSS quasars and changes one thing at a time: resolution, coverage, flux
calibration, telluric bands, units of counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import specz_cnn
from specz_cnn import SpectrumArrays
from specz_cnn.velocity import SPEED_OF_LIGHT

#: Redshifts of the quasars among the single files, from their headers or the literature.
FILES = {
    "QuasarLifetimes__J0226+0302_XSHOOTER_VIS.fits": ("X-shooter (PypeIt)", 6.5412),
    "sculptor__J2125-1719_OPT_A.fits": ("SOAR/Goodman", 3.90),
    "Marz__quasarLinearSkyAirNoHelio.fits": ("AAOmega, counts", 2.003),
    "PyQSOFit_SBL__g1639001-012857.fits": ("6dFGS, counts", 0.0911),
    "qsofitmore__spec_J001554.18+560257.5_LJT.csv": ("Lijiang 2.4 m", 0.1684),
}
_MANY_OUTLIERS = int(specz_cnn.RedshiftFlag.MANY_OUTLIERS)


def arrays(loglam, flux, ivar):
    """Spectra of one grid, as the package takes them."""
    return [SpectrumArrays(loglam, f.astype("f4"), v.astype("f4")) for f, v in zip(flux, ivar, strict=True)]


def report(label, spectra, z):
    """One line: how many are right and flagged, offset and scatter, and how large errors are against it."""
    table = specz_cnn.fit_redshifts_cnn(spectra, progress=False)
    dv = SPEED_OF_LIGHT * (table["z"] - z) / (1 + z)
    z_sys = table["z_sys"]
    dv_sys = SPEED_OF_LIGHT * (z_sys - z) / (1 + z)
    good = np.abs(dv) < 3000
    clean = (table["flags"] & ~_MANY_OUTLIERS) == 0
    wrong = int((clean & ~good).sum())
    median, scatter = (np.median(dv[good]), 1.4826 * np.median(np.abs(dv[good] - np.median(dv[good]))))
    print(
        f"{label:34s} {len(z):4d} {good.mean():6.3f} {clean.mean():6.3f} {wrong:4d} {median:7.0f} {scatter:6.0f} "
        f"{np.median(dv_sys[good]):7.0f} {np.median(table['coverage']):6.2f}"
    )


def real(data):
    """Real spectra of other instruments."""
    print(f"{'real spectra':34s} {'n':>4s} {'right':>6s} {'clean':>6s} {'bad':>4s} {'median':>7s} {'NMAD':>6s} "
          f"{'z_sys':>7s} {'cover':>6s}")  # fmt: skip
    desi = np.load(data / "desi_spectra.npz")
    quasar = desi["cls"] == "QSO"
    report(
        "DESI", arrays(np.log10(desi["wave"]), desi["flux"][quasar], desi["ivar"][quasar]), desi["z"][quasar]
    )
    for name in ("xq", "z6"):
        sample = np.load(data / f"{name}_spectra.npz")
        loglam = sample["loglam0"] + sample["dloglam"] * np.arange(sample["flux"].shape[1])
        kinds = sample["sample"] if "sample" in sample else np.full(len(sample["flux"]), "z ~ 6")
        for kind in np.unique(kinds):
            rows = kinds == kind
            spectra = arrays(loglam, sample["flux"][rows], sample["ivar"][rows])
            report(f"X-shooter and others, {kind}", spectra, sample["z_systemic"][rows])
    for name, (label, z) in FILES.items():
        report(label, [data / "formats" / name], np.array([z]))
    stars = specz_cnn.fit_redshifts_cnn(sorted((data / "formats").glob("lamost*")), progress=False)
    print(f"LAMOST stars: {len(stars)}, without a flag {int((stars['flags'] == 0).sum())}")


def smoothed(flux, ivar, resolution, loglam):
    """Spectra as an instrument of lower resolution sees them (SDSS's is 2000), with pixels to match."""
    sigma = np.sqrt(max(resolution**-2 - 2000.0**-2, 0)) / 2.3548 / np.log(10) / (loglam[1] - loglam[0])
    half = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    n = max(int(sigma), 1)  # pixels of one new pixel
    size = flux.shape[1] // n * n
    # Weighted, so that a bad pixel does not spread.
    weight = np.apply_along_axis(np.convolve, 1, ivar, kernel, "same")
    mean = np.apply_along_axis(np.convolve, 1, ivar * flux, kernel, "same")
    mean = np.divide(mean, weight, out=np.zeros_like(mean), where=weight > 0)
    shape = (len(flux), -1, n)
    return (
        loglam[:size].reshape(-1, n).mean(1),
        mean[:, :size].reshape(shape).mean(2),
        ivar[:, :size].reshape(shape).sum(2),
    )


def changed(data, rows):
    """Real SDSS quasars with one thing changed at a time."""
    dev = np.load(data / "dev_spectra.npz")
    _, first = np.unique(dev["group"], return_index=True)
    chosen = np.zeros(len(dev["z"]), bool)
    chosen[first] = True
    chosen &= (dev["cls"] == "QSO") & (dev["trust"] >= 2) & (dev["plate"] >= 3510)
    chosen = np.flatnonzero(chosen)[:rows]
    loglam = dev["loglam0"] + dev["dloglam"] * np.arange(dev["flux"].shape[1])
    wave = 10**loglam
    flux, ivar, z = dev["flux"][chosen].astype(float), dev["ivar"][chosen].astype(float), dev["z"][chosen]
    print("\nSDSS's quasars, changed")
    report("as they are", arrays(loglam, flux, ivar), z)
    for resolution in (1000, 500, 300, 150):
        report(f"resolution {resolution}", arrays(*smoothed(flux, ivar, resolution, loglam)), z)
    for low, high in ((3700, 9000), (4000, 8000), (5000, 10400), (3600, 6000)):
        inside = (wave > low) & (wave < high)
        report(f"only {low} to {high} Angstrom", arrays(loglam[inside], flux[:, inside], ivar[:, inside]), z)
    for power in (-2, 2):
        factor = (wave / 6500) ** power
        report(f"flux tilted by wavelength^{power}", arrays(loglam, flux * factor, ivar / factor**2), z)
    # Counts: the response of a spectrograph falls to a fifth at both ends.
    response = np.exp(-0.5 * ((wave - 6800) / 1800) ** 2) + 0.05
    report("counts, not calibrated", arrays(loglam, flux * response, ivar / response**2), z)
    bands = ((6860, 6960), (7150, 7350), (7590, 7720), (8120, 8350), (8950, 9800))
    telluric = np.any([(wave > low) & (wave < high) for low, high in bands], axis=0)
    absorbed = np.where(telluric, 0.6, 1.0)
    report("telluric bands uncorrected (40 %)", arrays(loglam, flux * absorbed, ivar), z)
    report("telluric bands masked", arrays(loglam, flux, np.where(telluric, 0, ivar)), z)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000, help="of SDSS's quasars at most")
    args = parser.parse_args()
    real(args.data)
    changed(args.data, args.rows)


if __name__ == "__main__":
    main()
