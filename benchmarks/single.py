"""One spectrum: from its path to the result in a warm process, and the cold command line.

    python benchmarks/single.py [--spectra DIRECTORY] [--rounds 5]

A warm fit is compared with astropy reading HDU1 of the same file, the two in turn; the command with the imports that nobody
can avoid, ``python -c "import torch, specutils"``; both alternate.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
from setting import arguments, describe, read_plain, spectrum_files

from specz_cnn import fit_redshift_cnn


def warm(paths, check):
    """Milliseconds of astropy's reading and of the fit for each path, after the first: shape (2, n)."""
    times = []
    for path in paths:
        first = time.perf_counter()
        read_plain(path)
        start = time.perf_counter()
        try:
            fit_redshift_cnn(path, model="rnet-e", cross_check=check)
        except ValueError:
            continue  # a spectrum without data
        times.append((start - first, time.perf_counter() - start))
    return 1e3 * np.array(times[1:]).T


def duration(command):
    """Seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(describe())
    with spectrum_files(args.spectra) as paths:
        for check, target in ((None, 5), ("rnet-pz", 15)):
            plain, times = warm(paths, check)
            name = f"rnet-e with {check}" if check else "rnet-e alone"
            print(
                f"path to result, warm, {name}: median {np.median(times):.2f} ms, 90 % below "
                f"{np.percentile(times, 90):.2f} ms (wanted: {target}), {np.median(times / plain):.2f} x astropy"
            )
        imports = [sys.executable, "-c", "import torch, specutils"]
        fit = [sys.executable, "-m", "specz_cnn.cli", "fit", paths[len(paths) // 2]]
        pairs = np.array([(duration(imports), duration(fit)) for _ in range(args.rounds + 1)])[1:]
        first, second = np.median(pairs, axis=0)
        ratio = np.median(pairs[:, 1] / pairs[:, 0])
        print(
            f"import torch, specutils: {first:.2f} s; specz-cnn fit one file: {second:.2f} s, "
            f"{ratio:.2f} x (wanted: 1.3)"
        )


if __name__ == "__main__":
    main()
