"""From a file to the model grid: each step, against reading HDU1 with `astropy.io.fits`.

    python benchmarks/reading.py [--spectra DIRECTORY] [--rounds 5]

The steps alternate, so that whatever else the machine does slows all alike; times are the best round's, in one process,
with files in the page cache.  Before that, the fast reader is compared with astropy bit by bit.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from setting import arguments, describe, read_plain, spectrum_files

from specz_cnn import ModelGrid, read_arrays
from specz_cnn.io import read_arrays_astropy
from specz_cnn.models.preprocess import standardise
from specz_cnn.redshift.prepare import prepare, prepare_file

GRID = ModelGrid()


def check(paths):
    """Compare the two readers."""
    for path in paths:
        fast, slow = read_arrays(path), read_arrays_astropy(path)
        assert repr(fast.identity) == repr(slow.identity), path
        for name in ("loglam", "flux", "ivar"):
            first, second = getattr(fast, name), getattr(slow, name)
            assert first.dtype == second.dtype and first.tobytes() == second.tobytes(), (path, name)
    print(f"read_arrays is bit-identical to astropy on all {len(paths)} files")


def steps(paths):
    """Name of each step: what it does with one file, and with which argument."""
    arrays = [read_arrays(path) for path in paths]
    prepared = [item for item in (prepare(a, GRID) for a in arrays) if item.flux is not None]
    batches = [prepared[i : i + 64] for i in range(0, len(prepared), 64)]
    stacks = [
        [torch.from_numpy(np.stack([getattr(p, n) for p in b])) for n in ("flux", "ivar")] for b in batches
    ]
    return {
        "astropy.io.fits, HDU1": (read_plain, paths),
        "read_arrays_astropy": (read_arrays_astropy, paths),
        "read_arrays": (read_arrays, paths),
        "read_arrays, without the catalogue row": (partial(read_arrays, pipeline=False), paths),
        "rebin, S/N, coverage (prepare)": (partial(prepare, grid=GRID), arrays),
        "read_arrays and prepare": (partial(prepare_file, grid=GRID), paths),
        "standardise, batches of 64, one thread": (lambda stack: standardise(*stack), stacks),
    }


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    with spectrum_files(args.spectra) as paths:
        check(paths)
        work = steps(paths)
        best = dict.fromkeys(work, np.inf)
        for _ in range(args.rounds):
            for name, (function, items) in work.items():
                start = time.perf_counter()
                for item in items:
                    function(item)
                best[name] = min(best[name], (time.perf_counter() - start) / len(paths))
        reference = best["astropy.io.fits, HDU1"]
        for name, seconds in best.items():
            print(f"{name:42s} {1e3 * seconds:7.3f} ms  {reference / seconds:6.1f} x the rate of astropy")


if __name__ == "__main__":
    main()
