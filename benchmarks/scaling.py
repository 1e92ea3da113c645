"""The cost of a survey against its size.

    python benchmarks/scaling.py [--spectra DIRECTORY] [-n 1000 3000 10000 30000 100000] [--workers N]

Time is everything: listing the files, starting the processes, writing the parts.
"""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from setting import arguments, describe, spectrum_files

from specz_cnn.parallel import available_cores
from specz_cnn.survey import fit_survey


def main():
    parser = arguments(__doc__)
    sizes = [1000, 3000, 10_000, 30_000, 100_000]
    parser.add_argument("-n", type=int, nargs="+", default=sizes, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=available_cores(), help="default: one a core")
    parser.add_argument("--model", default="rnet-e")
    parser.add_argument("--check", default="", help="cross-check (default: none)")
    args = parser.parse_args()
    print(describe())
    options = {"model": args.model, "cross_check": args.check or None, "n_workers": args.workers}
    with spectrum_files(args.spectra) as paths:
        for n in args.n:
            with tempfile.TemporaryDirectory() as output:
                start = time.perf_counter()
                fit_survey(islice(cycle(paths), n), Path(output) / "z", **options)
                seconds = time.perf_counter() - start
                size = sum(path.stat().st_size for path in Path(output).rglob("part-*")) / 1e6
            print(f"{n:7d} files: {seconds:7.1f} s, {n / seconds:5.0f}/s, parts of {size:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
