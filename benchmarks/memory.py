"""Peak memory of a survey against the number of its files.

    python benchmarks/memory.py [--spectra DIRECTORY] [-n 1000 100000] [--workers N]

Each survey runs in a process of its own.  Memory is that of this process and all it starts, pages that they share
counted once (proportional set size), looked up five times a second.  Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from setting import arguments, describe, spectrum_files

from specz_cnn.parallel import available_cores

_RUN = """
import json, sys
from itertools import cycle, islice
from specz_cnn.survey import fit_survey, read_list
listing, output, n, options = json.loads(sys.argv[1])
if __name__ == "__main__":
    print(fit_survey(islice(cycle(list(read_list(listing))), n), output, **options))
"""


def family(pid):
    """A process and all its descendants."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in children.get(parent, [])]
    return found


def memory(pid):
    """Proportional set size of a process in MB; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def peak(listing, n, options):
    """Peak memory in MB of all processes of a survey together, of its main process, and its duration."""
    with tempfile.TemporaryDirectory() as output:
        start, total, main = time.perf_counter(), 0.0, 0.0
        given = json.dumps([str(listing), f"{output}/z", n, options])
        with subprocess.Popen([sys.executable, "-c", _RUN, given], stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                sizes = [memory(pid) for pid in family(process.pid)]
                total, main = max(total, sum(sizes)), max(main, sizes[0])
                time.sleep(0.2)
        if process.returncode:
            raise SystemExit(f"the survey of {n} files failed")
        return total, main, time.perf_counter() - start


def main():
    parser = arguments(__doc__)
    parser.add_argument("-n", type=int, nargs="+", default=[1000, 100_000], help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=available_cores(), help="default: one a core")
    parser.add_argument("--model", default="rnet-e")
    parser.add_argument("--check", default="rnet-pz")
    args = parser.parse_args()
    print(describe())
    options = {"model": args.model, "cross_check": args.check or None, "n_workers": args.workers}
    with spectrum_files(args.spectra) as paths, tempfile.TemporaryDirectory() as place:
        listing = Path(place) / "paths.txt"
        listing.write_text("".join(f"{path}\n" for path in paths))
        first = None
        for n in args.n:
            total, main, seconds = peak(listing, n, options)
            first = total if first is None else first
            print(
                f"{n:7d} files: {total:6.0f} MB in all ({total - first:+.0f}), {main:5.0f} MB in the main process, "
                f"{seconds:.1f} s, {n / seconds:.0f}/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
