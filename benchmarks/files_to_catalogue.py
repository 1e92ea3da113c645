"""From files to the finished catalogue, against a plain loop that merely reads HDU1 with `astropy.io.fits`.

    python benchmarks/files_to_catalogue.py [--spectra DIRECTORY] [-n 20000] [--workers N]

The plain loop (one process, as a script does it) runs before, between and after the surveys; each survey is compared
with the loops on either side of it.  Time is everything, the start of processes and the writing of Parquet included.
"""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from setting import arguments, describe, read_plain, spectrum_files

from specz_cnn.parallel import available_cores
from specz_cnn.survey import fit_survey


def plain_rate(paths, seconds=5.0):
    """Files per second of the plain loop."""
    start = time.perf_counter()
    for n, path in enumerate(cycle(paths), 1):
        read_plain(path)
        if time.perf_counter() - start > seconds and n >= len(paths):
            return n / (time.perf_counter() - start)


def survey_rate(paths, n, **options):
    """Files per second of a survey."""
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        summary = fit_survey(islice(cycle(paths), n), Path(output) / "z", **options)
        assert summary.n_rows == n
        return n / (time.perf_counter() - start)


def main():
    parser = arguments(__doc__)
    parser.add_argument("-n", type=int, default=20_000, help="files, by repetition (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=available_cores(), help="default: one a core")
    parser.add_argument("--device", help="default: cuda if there is one")
    parser.add_argument("--model", default="rnet-e")
    parser.add_argument("--check", default="rnet-pz")
    args = parser.parse_args()
    print(describe())
    with spectrum_files(args.spectra) as paths:
        rates = [plain_rate(paths)]
        print(f"astropy.io.fits, HDU1, one process: {rates[0]:.0f}/s")
        for check, target in ((None, 1.8), (args.check, 1.2)):
            options = {
                "model": args.model,
                "cross_check": check,
                "device": args.device,
                "n_workers": args.workers,
            }
            rate = survey_rate(paths, args.n, **options)
            rates.append(plain_rate(paths))
            reference = 0.5 * (rates[-1] + rates[-2])
            name = f"{args.model} with {check}" if check else f"{args.model} alone"
            print(
                f"{args.n} files to catalogue, {args.workers} processes, {name}: {rate:.0f}/s, "
                f"{rate / reference:.2f} x astropy ({reference:.0f}/s; wanted: {target})"
            )


if __name__ == "__main__":
    main()
