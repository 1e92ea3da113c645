"""A survey on a Dask cluster: rate with 1, 2, 4 ... workers and for several sizes of blocks, and the cost of a task.

    python benchmarks/cluster.py [--spectra DIRECTORY] [-n 4096] [--workers 1 2 4] [--batches 32 128] [--latency 0]

Workers are processes of this machine with one thread each.  ``--latency`` makes each worker wait so many milliseconds before
it opens a file, as it would for a busy file system: with more workers than cores the waits overlap.  A task is two batches.
The cost of a task is what one that measures nothing takes from its submission to its result.
"""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from setting import arguments, describe, spectrum_files

from specz_cnn.survey import fit_survey


def nothing(paths):
    """A task without work, sent as many paths as a real one."""
    return len(paths)


def slow_down(seconds):
    """Make this process wait before it opens a spectrum file."""
    from specz_cnn.redshift import prepare

    read = prepare.read_any

    def late(*args, **kwargs):
        time.sleep(seconds)
        return read(*args, **kwargs)

    if not getattr(read, "late", False):
        late.late = True
        prepare.read_any = late


def task_cost(client, paths, n=200):
    """Seconds of a task without work, when many are under way."""
    start = time.perf_counter()
    client.gather([client.submit(nothing, paths, pure=False) for _ in range(n)])
    return (time.perf_counter() - start) / n


def main():
    parser = arguments(__doc__)
    parser.add_argument("-n", type=int, default=4096, help="files, by repetition (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128], help="spectra in a batch")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds to wait for each file")
    args = parser.parse_args()

    from distributed import Client, LocalCluster

    print(describe())
    with spectrum_files(args.spectra) as paths:
        paths = list(islice(cycle(paths), args.n))
        for n_workers in args.workers:
            cluster = LocalCluster(
                n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
            )
            with cluster, Client(cluster) as client, tempfile.TemporaryDirectory() as directory:
                if args.latency:
                    client.run(slow_down, 1e-3 * args.latency)
                # Networks are loaded, and everything imported, before the clock runs.
                fit_survey(paths[: 64 * n_workers], Path(directory) / "warm", client=client, batch_size=8)
                for size in args.batches:
                    start = time.perf_counter()
                    fit_survey(paths, Path(directory) / str(size), client=client, batch_size=size)
                    rate = args.n / (time.perf_counter() - start)
                    cost = task_cost(client, paths[: 2 * size])
                    print(
                        f"{n_workers} workers, batches of {size}: {rate:.0f}/s; a task of {2 * size} spectra "
                        f"costs {1e3 * cost:.1f} ms, {cost / (2 * size) * rate:.1%} of the time"
                    )


if __name__ == "__main__":
    main()
