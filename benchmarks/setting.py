"""What a benchmark runs on: the machine, the versions and the files."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits

import specz_cnn

__all__ = ["arguments", "describe", "read_plain", "spectrum_files"]

_PACKAGES = ("numpy", "astropy", "specutils", "torch", "pyarrow", "distributed")


def arguments(description):
    """A parser with the option that all benchmarks of reading and surveys share."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--spectra", type=Path, help="directory of spec-lite files (default: 200 synthetic ones)"
    )
    return parser


def describe():
    """One paragraph about the machine and the versions."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(
                (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
            )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {cores} cores{load}; {platform.system()}, Python {platform.python_version()}, "
        f"specz-cnn {specz_cnn.__version__}, {packages}"
    )


@contextmanager
def spectrum_files(directory, number=200):
    """Paths of the files to read: those of a directory, or synthetic ones of the size of real ones."""
    if directory is not None:
        paths = [os.fspath(path) for path in sorted(directory.rglob("spec-*.fits"))]
        if not paths:
            raise SystemExit(f"no files spec-*.fits in {directory}")
        print(f"{len(paths)} files of {directory.name}, {_mean_size(paths):.0f} kB each")
        yield paths
        return
    rng = np.random.default_rng(0)
    loglam = 3.55 + 1e-4 * np.arange(4600)
    with tempfile.TemporaryDirectory() as place:
        paths = []
        for fiber in range(1, number + 1):
            path = Path(place) / f"spec-7000-57061-{fiber:04d}.fits"
            lines = 8 * np.exp(-0.5 * ((loglam - rng.uniform(3.58, 3.98, (4, 1))) / 0.004) ** 2).sum(0)
            specz_cnn.write_spec_lite(path, loglam, 2 + lines + rng.normal(size=4600), np.ones(4600), z=1.0)
            paths.append(os.fspath(path))
        print(f"{number} synthetic files, {_mean_size(paths):.0f} kB each")
        yield paths


def _mean_size(paths):
    return np.mean([os.path.getsize(path) for path in paths]) / 1e3


def read_plain(path):
    """What a plain script does: read HDU1 with astropy."""
    with fits.open(path) as hdulist:
        data = hdulist[1].data
        names = {name.lower(): name for name in data.names}
        return [np.array(data[names[name]]) for name in ("loglam", "flux", "ivar")]
