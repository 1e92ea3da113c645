"""Where the time of a spectrum goes, from its file to a row of the catalogue: milliseconds and share of each stage.

    python benchmarks/stages.py [--spectra DIRECTORY] [-n 512] [--rounds 5] [--batch-size 128]

One process and one thread do what a worker of a survey does.  Times are those of the processor (other programs on the
machine do not count, though they slow its caches), medians over the rounds.  Each stage is what its functions take
without the stages inside them.  The last line compares with `astropy.io.fits` merely reading HDU1, timed in turn with it.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from setting import arguments, describe, read_plain, spectrum_files

#: Stage: the functions in which it is spent, as module:name.
STAGES = {
    "read": ["redshift.prepare:read_any"],
    "rebin": ["io.grid:ModelGrid.rebin"],
    "prepare, the rest": ["redshift.prepare:prepare_file"],
    "stack": ["redshift.fitter:Fitter._stack"],
    "standardise": ["models.network:standardise", "models.rnet:standardise"],
    "networks": ["redshift.fitter:network_output"],
    "p(z)": ["redshift.fitter:posterior"],
    "eigenspectra, scan": ["models.eigenspectra:Eigenspectra.scan"],
    "eigenspectra, fit": ["models.eigenspectra:Eigenspectra.fit"],
    "eigenspectra, p(z)": ["redshift.measure:Measurement.__call__"],
    "columns": ["redshift.fitter:Fitter.fit", "survey.work:_column"],
}


class Stopwatch:
    """Processor time by stage, each without the stages inside it."""

    def __init__(self):
        self.spent, self._open = Counter(), []

    @contextmanager
    def stage(self, name):
        now = time.thread_time()
        if self._open:
            self.spent[self._open[-1][0]] += now - self._open[-1][1]
        self._open.append([name, now])
        try:
            yield
        finally:
            now = time.thread_time()
            self.spent[name] += now - self._open.pop()[1]
            if self._open:
                self._open[-1][1] = now

    def watch(self, name, place):
        """Put a function of the package under the watch."""
        module, _, path = place.partition(":")
        owner = import_module(f"specz_cnn.{module}")
        *classes, attribute = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        if attribute not in vars(owner):
            return  # this module does not use it
        function = getattr(owner, attribute)

        def timed(*args, **kwargs):
            label = name
            if name == "networks":
                label = f"network {args[0].info.name}"
            with self.stage(label):
                return function(*args, **kwargs)

        setattr(owner, attribute, timed)


def main():
    parser = arguments(__doc__)
    parser.add_argument("-n", type=int, default=512, help="spectra in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--model", default=None)
    parser.add_argument("--check", default="default", help='"none" for none')
    args = parser.parse_args()

    from specz_cnn.parallel import on_one_core
    from specz_cnn.redshift.fitter import Fitter, default_models
    from specz_cnn.survey.work import Job, fit_block

    on_one_core()
    print(describe())
    check = None if args.check == "none" else args.check
    fitter = Fitter(args.model, check, "cpu")
    names = fitter.provenance
    job = Job(
        *default_models(args.model, check),
        (names["model_sha256"], names["cross_check_sha256"]),
        names["package"].split()[-1],
        "cpu",
        batch_size=args.batch_size,
    )
    watch = Stopwatch()
    for stage, places in STAGES.items():
        for place in places:
            watch.watch(stage, place)
    rounds, totals, plain = [], [], []
    with spectrum_files(args.spectra) as paths, tempfile.TemporaryDirectory() as directory:
        paths = list(islice(cycle(paths), args.n))
        for number in range(args.rounds + 1):
            watch.spent.clear()
            start = time.thread_time()
            columns = fit_block(paths, job)
            with watch.stage("part"):
                write(columns, Path(directory) / f"{number}.parquet")
            totals.append(time.thread_time() - start)
            rounds.append(dict(watch.spent))
            start = time.thread_time()
            for path in paths:
                read_plain(path)
            plain.append(time.thread_time() - start)
    # The first round also loads the networks, and is left out.
    rounds, totals, plain = rounds[1:], np.array(totals[1:]), np.array(plain[1:])
    per_spectrum = {
        name: 1e3 * np.median([spent.get(name, 0.0) for spent in rounds]) / args.n for name in rounds[0]
    }
    total = 1e3 * np.median(totals) / args.n
    print(f"{'stage':24s} {'ms':>7s} {'share':>6s}")
    for name, value in sorted(per_spectrum.items(), key=lambda pair: -pair[1]):
        print(f"{name:24s} {value:7.3f} {value / total:6.1%}")
    rest = total - sum(per_spectrum.values())
    print(f"{'the rest':24s} {rest:7.3f} {rest / total:6.1%}")
    print(f"{'all':24s} {total:7.3f}")
    ratio = np.median(totals / plain)
    print(f"astropy.io.fits, HDU1: {1e3 * np.median(plain) / args.n:.3f} ms; all is {ratio:.2f} x that")


def write(columns, path):
    """A part of a catalogue."""
    from specz_cnn.results.tables import make_table, write_table

    write_table(make_table(columns, {}), path)


if __name__ == "__main__":
    main()
