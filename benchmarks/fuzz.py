"""Damaged spec-lite files by the ten thousand: does the reader ever crash, hang, or ask for more memory than it should?

    python benchmarks/fuzz.py --spectra DIRECTORY -n 50000
    python benchmarks/fuzz.py --spectra DIRECTORY --atheris -n 50000      # guided by coverage; needs atheris

Each file is a real one (or, without ``--spectra``, a synthetic one) after one to three mutations.  It must either be
read, as arrays that are consistent, or be refused with a `SpecLiteError`.  Any other exception is a crash; more than
ten seconds of CPU time are a hang; the address space may grow by 1 GiB at most.  With ``--fit-every K``, each K-th file
that was read is also fitted, and an unflagged redshift more than 3000 km/s from that of the undamaged file is counted.
"""

from __future__ import annotations

import argparse
import gzip
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

BLOCK, CARD = 2880, 80
CPU_SECONDS = 10
MARGIN = 1 << 30

_NUMBERS = (b"NAXIS", b"NAXIS1", b"NAXIS2", b"PCOUNT", b"GCOUNT", b"TFIELDS", b"BITPIX", b"EXTEND", b"THEAP")
_VALUES = (
    b"0", b"-1", b"1", b"2", b"7", b"999", b"4641", b"2147483647", b"4294967296", b"9223372036854775807",
    b"18446744073709551616", b"99999999999999999999", b"1e308", b"NaN", b"T", b"''", b"'x", b"",
)  # fmt: skip
_FORMS = (
    b"E",
    b"D",
    b"J",
    b"K",
    b"A",
    b"L",
    b"X",
    b"P",
    b"0E",
    b"2E",
    b"9999999999E",
    b"PE(99999)",
    b"QJ",
    b"Z",
    b"",
)
_FLOATS = np.array([np.nan, np.inf, -np.inf, 0, -1, 1e30, -1e30, 3e38, 1e-45], ">f4")


class Hang(BaseException):
    """Too much CPU time; no Exception, so that nobody but us catches it."""


def _cards(data):
    """Positions of what look like header cards."""
    return [
        match.start()
        for match in re.finditer(rb"[A-Z][A-Z0-9_-]{1,7} *= ", data)
        if match.start() % CARD == 0
    ]


def truncate(rng, data):
    unit = rng.choice([1, CARD, BLOCK])
    return data[: int(rng.integers(0, len(data) // unit + 1)) * unit]


def flip_bits(rng, data):
    data = bytearray(data)
    for place in rng.integers(0, len(data), int(10 ** rng.uniform(0, 2))):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def flip_header(rng, data):
    data = bytearray(data)
    cards = _cards(data) or [0]
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.choice(cards)) + int(rng.integers(0, CARD))
        data[min(place, len(data) - 1)] = int(rng.choice(list(b" 0123456789AEJK'=/\0\xff")))
    return bytes(data)


def change_number(rng, data):
    keyword = rng.choice(_NUMBERS)
    return _set_cards(rng, data, keyword, rng.choice(_VALUES))


def change_form(rng, data):
    number = int(rng.integers(1, 12))
    keyword, values = ((b"TFORM", _FORMS), (b"TTYPE", (b"flux", b"loglam", b"ivar", b"z", b"")))[
        rng.integers(2)
    ]
    return _set_cards(rng, data, keyword + b"%d" % number, b"'" + rng.choice(values) + b"'")


def _set_cards(rng, data, keyword, value):
    start = keyword.ljust(8) + b"= "
    places = [m.start() for m in re.finditer(re.escape(start), data) if m.start() % CARD == 0]
    if not places:
        return data
    place = int(rng.choice(places))
    return data[:place] + (start + value.rjust(20)).ljust(CARD)[:CARD] + data[place + CARD :]


def rearrange(rng, data):
    """Delete, repeat or swap blocks, cards or odd pieces."""
    unit = int(rng.choice([CARD, BLOCK, int(rng.integers(1, 5000))]))
    n = max(len(data) // unit, 1)
    i, j = sorted(int(k) * unit for k in rng.integers(0, n, 2))
    one, other = data[i : i + unit], data[j : j + unit]
    kind = rng.integers(3)
    if kind == 0:
        return data[:i] + data[i + unit :]
    if kind == 1:
        return data[:i] + one + data[i:]
    return data[:i] + other + data[i + unit : j] + one + data[j + unit :]


def overwrite(rng, data):
    start = int(rng.integers(0, len(data)))
    size = int(rng.integers(1, 20_000))
    fill = (bytes(size), b"\xff" * size, b" " * size, rng.bytes(size))[rng.integers(4)]
    return (data[:start] + fill + data[start + size :])[: len(data)]


def damage_pixels(rng, data):
    """Absurd numbers in place of some fluxes, inverse variances or masks."""
    from specz_cnn.io.bulk import _header_end, _table_at, _Unusual

    try:
        table, start = _table_at(data, _header_end(data, 0), ("flux", "ivar"))
    except _Unusual:
        return data
    if table.row_bytes == 0 or start + table.size > len(data):
        return data
    data = bytearray(data)
    offset = table.columns[str(rng.choice(["flux", "ivar"]))][1]
    share = 10 ** rng.uniform(-3.5, 0)
    for row in np.flatnonzero(rng.random(table.n_rows) < share):
        place = start + int(row) * table.row_bytes + offset
        if place + 4 <= len(data):
            data[place : place + 4] = rng.choice(_FLOATS).tobytes()
    return bytes(data)


def compress(rng, data):
    data = gzip.compress(data[: int(rng.integers(0, len(data) + 1))] if rng.random() < 0.3 else data, 1)
    return flip_bits(rng, data) if rng.random() < 0.5 else data


MUTATIONS = (
    truncate, flip_bits, flip_header, change_number, change_form, rearrange, overwrite, damage_pixels, compress,
)  # fmt: skip


def mutate(rng, data):
    """Damage a file: name of the first kind of damage, and the bytes."""
    first = MUTATIONS[rng.integers(len(MUTATIONS))]
    more = max(int(rng.integers(-2, 3)), 0)
    chosen = [first, *(MUTATIONS[k] for k in rng.integers(0, len(MUTATIONS), more))]
    if compress in chosen:  # after the others
        chosen.sort(key=lambda mutation: mutation is compress)
    for mutation in chosen:
        data = mutation(rng, data) or b"\0"
    return first.__name__, data


def check_arrays(arrays, n_bytes):
    """Whether what was read can be a spectrum at all."""
    n = len(arrays)
    assert arrays.loglam.shape == arrays.flux.shape == arrays.ivar.shape == (n,) and n > 0
    assert (arrays.loglam.dtype, arrays.flux.dtype, arrays.ivar.dtype) == (np.float64, np.float32, np.float32)
    assert 12 * n <= 1100 * n_bytes, "more pixels than the file can hold"
    assert np.isfinite(arrays.loglam).all() and (np.diff(arrays.loglam) > 0).all()
    assert (arrays.ivar >= 0).all() and np.isfinite(arrays.ivar).all()
    assert np.isfinite(arrays.flux[arrays.ivar > 0]).all()
    for name in ("plate", "mjd", "fiber", "zwarning_pipe"):
        assert isinstance(getattr(arrays, name), int) and abs(getattr(arrays, name)) < 2**31


def read(path, data):
    """Read one file: what became of it, the arrays or the exception, CPU seconds."""
    from specz_cnn.io import SpecLiteError, read_arrays

    signal.setitimer(signal.ITIMER_PROF, 0)
    path.write_bytes(data)
    started = time.process_time()
    # Again and again: the first may be raised where clean-up hangs in its turn.
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS, CPU_SECONDS)
    try:
        arrays = read_arrays(path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        check_arrays(arrays, len(data))
        outcome = "read", arrays
    except SpecLiteError as error:
        outcome = "refused", error
    except Hang as error:
        outcome = "hang", error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = "crash", error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return *outcome, time.process_time() - started


def _on_timer(signum, frame):
    raise Hang


def synthetic_file(directory):
    """A small file with everything that a file of the survey has."""
    from specz_cnn import write_spec_lite

    rng = np.random.default_rng(0)
    path = Path(directory) / "spec-7276-57061-0470.fits"
    flux, ivar = rng.normal(2, 1, 600), rng.gamma(2, 1, 600)
    write_spec_lite(
        path, 3.6 + 1e-4 * np.arange(600), flux, ivar, ra=150.25, dec=-1.5, z=2.25, overwrite=True
    )
    return path


class _Fits:
    """Fits some of the damaged files, and compares with the undamaged ones."""

    def __init__(self, originals):
        from specz_cnn.redshift.fitter import Fitter

        self.fitter = Fitter(device="cpu")
        self.z = self._fit([self._prepare_file(path) for path in originals])[0]
        self.pending, self.n, self.unflagged, self.wrong = [], 0, 0, 0

    def _prepare_file(self, path):
        from specz_cnn.redshift.prepare import prepare_file

        return prepare_file(path, self.fitter.grid)[0]

    def _fit(self, prepared):
        parts = [self.fitter.fit(prepared[i : i + 64]).columns for i in range(0, len(prepared), 64)]
        return tuple(np.concatenate([part[name] for part in parts]) for name in ("z", "flags"))

    def add(self, arrays, original):
        from specz_cnn.redshift.prepare import prepare

        self.pending.append((prepare(arrays, self.fitter.grid), original))
        if len(self.pending) == 64:
            self.flush()

    def flush(self):
        if not self.pending:
            return
        prepared, original = zip(*self.pending, strict=True)
        z, flags = self._fit(list(prepared))
        true = self.z[list(original)]
        good = flags == 0
        assert np.isfinite(z[good]).all()
        with np.errstate(invalid="ignore"):
            moved = np.abs(np.log1p(z) - np.log1p(true)) > 0.01
        self.n += len(z)
        self.unflagged += int(good.sum())
        self.wrong += int((good & moved).sum())
        self.pending = []


def fuzz(originals, n, *, seed=0, seconds=np.inf, fit_every=0, keep=None, progress=0, limit_memory=True):
    """Read ``n`` damaged files.

    Parameters
    ----------
    originals : list of path-like
    n : int
    seed : int
    seconds : float
        Stop after this time.
    fit_every : int
        Fit each so-manieth file that was read; 0 for none.
    keep : path-like, optional
        Directory for the files that crash or hang.
    progress : int
        Report on stderr after so many files; 0 for never.
    limit_memory : bool
        Whether to limit the address space to 1 GiB more than now.

    Returns
    -------
    dict
        ``counts`` (kind of damage to counts by outcome), ``failures`` (texts), ``slowest`` (CPU seconds), ``peak`` (growth
        of the resident memory, bytes), ``fits`` (number, unflagged, unflagged and wrong) or None.
    """
    rng = np.random.default_rng(seed)
    contents = [Path(path).read_bytes() for path in originals]
    fits = _Fits(originals) if fit_every else None
    counts, failures, slowest, n_read = defaultdict(Counter), [], 0.0, 0
    previous = signal.signal(signal.SIGPROF, _on_timer)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        path = Path(directory) / "spec-7276-57061-0470.fits"
        read(path, contents[0])
        if limit_memory:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + MARGIN, limits[1]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        try:
            for number in range(n):
                if time.monotonic() - started > seconds:
                    break
                original = int(rng.integers(len(contents)))
                kind, data = mutate(rng, contents[original])
                outcome, found, cpu = read(path, data)
                counts[kind][outcome] += 1
                slowest = max(slowest, cpu)
                if outcome in ("crash", "hang"):
                    failures.append(f"{number} {kind}: {type(found).__name__}: {found}")
                    if keep is not None:
                        (Path(keep) / f"{outcome}-{seed}-{number}.fits").write_bytes(data)
                elif outcome == "read":
                    n_read += 1
                    if fits and n_read % fit_every == 0:
                        fits.add(found, original)
                if progress and (number + 1) % progress == 0:
                    print(f"{number + 1} files, {len(failures)} failures", file=sys.stderr, flush=True)
            if fits:
                fits.flush()
        finally:
            signal.signal(signal.SIGPROF, previous)
            resource.setrlimit(resource.RLIMIT_AS, limits)
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return {
        "counts": counts,
        "failures": failures,
        "slowest": slowest,
        "peak": peak,
        "fits": (fits.n, fits.unflagged, fits.wrong) if fits else None,
    }


def show(result):
    """Print the figures."""
    total = Counter()
    print(f"{'damage':<16}{'files':>8}{'read':>8}{'refused':>9}{'crash':>7}{'hang':>6}")
    for kind, counts in sorted(result["counts"].items()):
        total += counts
        print(f"{kind:<16}{counts.total():>8}" + _columns(counts))
    print(f"{'all':<16}{total.total():>8}" + _columns(total))
    print(
        f"slowest file {result['slowest']:.2f} s of CPU time, memory grew by {result['peak'] / 2**20:.0f} MiB"
    )
    if result["fits"]:
        print("fitted {}, unflagged {}, of these wrong {}".format(*result["fits"]))
    print("\n".join(result["failures"]))


def _columns(counts):
    return f"{counts['read']:>8}{counts['refused']:>9}{counts['crash']:>7}{counts['hang']:>6}"


def run_atheris(originals, n):
    """Fuzzing guided by coverage: inputs that reach new code of the reader become seeds of others."""
    import atheris

    with atheris.instrument_imports(include=["specz_cnn.io", "astropy.io.fits"]):
        import specz_cnn.io  # noqa: F401

    directory = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    for number, path in enumerate(originals[:40]):
        data = Path(path).read_bytes()
        (directory / f"{number}.fits").write_bytes(data if len(data) < 100_000 else data[:100_800])
    file = directory / "spec-7276-57061-0470.bin"

    def one_input(data):
        outcome, found, _ = read(file, data)
        if outcome in ("crash", "hang"):
            raise found

    signal.signal(signal.SIGPROF, _on_timer)
    limits = ["-rss_limit_mb=2048", "-timeout=120", "-max_len=300000"]
    atheris.Setup([sys.argv[0], f"-runs={n}", *limits, str(directory)], one_input)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spectra", help="directory of spec-lite files; one synthetic file without it")
    parser.add_argument("-n", type=int, default=50_000, help="files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after this time")
    parser.add_argument(
        "--fit-every", type=int, default=0, metavar="K", help="fit each K-th file that was read"
    )
    parser.add_argument("--keep", help="directory for files that crash or hang")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        originals = (
            sorted(Path(args.spectra).glob("spec-*.fits")) if args.spectra else [synthetic_file(directory)]
        )
        if args.atheris:
            run_atheris(originals, args.n)
            return 0
        result = fuzz(
            originals, args.n, seed=args.seed, seconds=args.seconds, fit_every=args.fit_every, keep=args.keep,
            progress=5000,
        )  # fmt: skip
    show(result)
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
