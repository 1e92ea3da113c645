"""Fetch spec-lite files from the SDSS archive: in parallel, resumable, each file whole or not there at all."""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table

from specz_cnn.config import cache_directory, conf
from specz_cnn.io import SpecLiteError
from specz_cnn.io.whole import remove_unfinished, write_whole
from specz_cnn.sdss.archive import lite_url
from specz_cnn.sdss.ids import SpecID, iter_specids
from specz_cnn.sdss.integrity import check_spec_lite
from specz_cnn.sdss.retry import PASSING_STATUS, backoff, describe

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import QTable

    from specz_cnn.typing import PathLike

__all__ = ["download_spectra"]

_CHUNK = 1 << 16

# Full files, much larger than lite ones, reach some 10 MB.  A server must not be able to fill the memory.
_MAX_BYTES = 64 << 20

# An unfinished file this old belongs to a run that is dead.
_STALE_SECONDS = 3600

_GONE = (404, 410)


@dataclass(slots=True)
class _Job:
    """One file to fetch, and what became of it."""

    spec_id: SpecID
    root: Path
    candidates: list[str]  # paths below the root, here and in the archive
    path: Path
    status: str = "failed"
    n_bytes: int = 0
    error: str = ""
    server_down: bool = False


class _Failure(Exception):
    """A request that failed; whether another attempt may succeed, and whether the server is at fault."""

    def __init__(self, message, *, passing=False, retry_after=None, server_down=False):
        super().__init__(message)
        self.passing, self.retry_after, self.server_down = passing, retry_after, server_down


@dataclass
class _Run:
    """What the connections of one download share."""

    retries: int
    timeout: float
    overwrite: bool
    patience: int  # files in a row that the server may fail to give before the rest is given up
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    failures: int = 0
    reason: str = ""

    def note(self, job):
        """Give up once the server gives no answer, or none but busy, for file after file."""
        with self.lock:
            self.failures = self.failures + 1 if job.server_down else 0
            if self.failures >= self.patience:
                self.reason = job.error
                self.stop.set()


def download_spectra(
    ids: Any,
    directory: PathLike | None = None,
    *,
    overwrite: bool = False,
    data_release: int | None = None,
    connections: int | None = None,
    retries: int | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
) -> QTable:
    """Fetch spec-lite files, about 0.2 MB each, from the SDSS archive.

    Files lie below `directory` as they do in the archive.  Each is fetched under another name, checked (it is a whole
    FITS file with the table of the spectrum, of the right plate, MJD and fibre) and then renamed, so that a file under
    its final name is whole whenever the run is broken off.  The same call again fetches only what is missing.

    Parameters
    ----------
    ids : SpecID, int, str, table, or iterable of these
        Names of spectra, as in :meth:`SpecID.parse`, or a table such as :func:`search_spectra` gives.  Where the
        reduction of a spectrum is not known, those of the release are tried in turn.
    directory : path-like, optional
        The cache directory (``conf.cache_dir``) if not given.
    overwrite : bool
        Fetch files that are there, too.
    data_release : int, optional
        ``conf.data_release`` if not given.
    connections : int, optional
        Parallel connections; ``conf.connections`` if not given.
    retries : int, optional
        Further attempts after a time-out, a broken connection, an incomplete file or the status 429 or 5xx, after
        waits that double; ``conf.retries`` if not given.
    timeout : float, optional
        Seconds without a byte after which an attempt is given up; ``conf.timeout`` if not given.
    progress : bool, optional
        Whether to show a progress bar on standard error; if not given, only on a terminal.

    Returns
    -------
    `~astropy.table.Table`
        One row for each input, in their order, with columns ``plate, mjd, fiber`` (-1 where the input names no
        spectrum), ``path`` (where the file is, or would be), ``status``, ``n_bytes`` (size of the file, 0 if there
        is none) and ``error`` (empty, or what went wrong).  The status is ``ok`` (fetched), ``present`` (was there),
        ``missing`` (the archive has no such file) or ``failed``.

    Raises
    ------
    OSError
        If `directory` cannot be made.  Whatever happens to a single file is told in its row only.
    ValueError
        If a table has no columns that name spectra, or an option is out of range.

    Notes
    -----
    When the server cannot be reached, or is too busy in every attempt, for as many files in a row as there are
    connections, the rest is not tried; their rows say so.
    """
    connections = int(_positive("connections", conf.connections if connections is None else connections))
    run = _Run(
        retries=int(_positive("retries", conf.retries if retries is None else retries, zero=True)),
        timeout=float(_positive("timeout", conf.timeout if timeout is None else timeout)),
        overwrite=overwrite,
        patience=max(3, connections),
    )
    root = Path(cache_directory() if directory is None else directory)
    root.mkdir(parents=True, exist_ok=True)
    rows, jobs = _plan(ids, root, data_release)
    for place in {(root / path).parent for job in jobs for path in job.candidates}:
        remove_unfinished(place, older_than=_STALE_SECONDS)
    _run_jobs(jobs, run, connections, progress)
    return _status_table(rows, run)


def _positive(name, value, *, zero=False):
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name} must be {'zero or ' if zero else ''}positive, not {value!r}")
    return value


def _plan(ids, root, data_release):
    """For each input its text and its job, or the error why it has none; and the jobs, each spectrum once."""
    rows, jobs = [], {}
    for name in iter_specids(ids):
        if not isinstance(name, Exception):
            if name not in jobs:
                candidates = name.lite_paths(data_release)
                jobs[name] = _Job(name, root, candidates, root / candidates[0])
            name = jobs[name]
        rows.append(name)
    return rows, list(jobs.values())


def _run_jobs(jobs, run, connections, progress):
    """Work through the jobs with a few connections; each takes the next job when it is done with one."""
    from tqdm import tqdm

    hidden = None if progress is None else not progress
    with tqdm(total=len(jobs), unit="file", disable=hidden, file=sys.stderr) as bar:
        remaining = iter(jobs)

        def work():
            with _session() as session:
                while not run.stop.is_set():
                    with run.lock:
                        job = next(remaining, None)
                    if job is None:
                        return
                    _do(job, session, run)
                    run.note(job)
                    with run.lock:
                        bar.update()

        with ThreadPoolExecutor(max(1, min(connections, len(jobs))), thread_name_prefix="download") as pool:
            try:
                for future in [pool.submit(work) for _ in range(connections)]:
                    future.result()
            finally:
                run.stop.set()  # on Ctrl-C the other connections stop after their current chunk


def _session():
    import requests

    from specz_cnn.version import __version__

    session = requests.Session()
    session.headers["User-Agent"] = f"specz-cnn/{__version__}"
    session.headers["Accept-Encoding"] = "identity"  # a compressed answer would hide how long it should be
    return session


def _do(job, session, run):
    """Do one job; whatever goes wrong ends in its row."""
    try:
        if run.overwrite or not _is_present(job):
            _fetch_any(job, session, run)
    except _Failure as failure:
        job.status, job.error, job.server_down = "failed", str(failure), failure.server_down
    except Exception as error:  # noqa: BLE001 - a full disk, a directory in the way: no file may end the others
        job.status, job.error = "failed", f"{type(error).__name__}: {error}"


def _is_present(job):
    """Whether a good file is there already, under any of the reductions that it may have."""
    for candidate in job.candidates:
        path = job.root / candidate
        try:
            check_spec_lite(path, job.spec_id)
        except (SpecLiteError, FileNotFoundError):
            continue  # not there, or cut off by some other program: it is fetched and replaced
        job.path, job.status, job.n_bytes = path, "present", path.stat().st_size
        return True
    return False


def _fetch_any(job, session, run):
    """Fetch the first file that the archive has of those that the job may mean."""
    for candidate in job.candidates:
        content = _fetch(job, lite_url(candidate), session, run)
        if content is not None:
            job.path = job.root / candidate
            _store(content, job.path)
            job.status, job.n_bytes = "ok", len(content)
            return
    job.status, job.error = "missing", f"the archive has no {job.candidates[0]}"
    if len(job.candidates) > 1:
        job.error += f", nor another reduction of it ({len(job.candidates)} tried)"


def _fetch(job, url, session, run):
    """Content of a URL, checked; None if there is no such file."""
    for attempt in range(run.retries + 1):
        try:
            return _attempt(job, url, session, run)
        except _Failure as failure:
            if not failure.passing or attempt == run.retries or run.stop.is_set():
                raise
            run.stop.wait(backoff(attempt, failure.retry_after))


def _attempt(job, url, session, run):
    import requests

    answered = False
    try:
        with session.get(url, stream=True, timeout=run.timeout) as response:
            answered = True
            if response.status_code in _GONE:
                return None
            if response.status_code != 200:
                passing = response.status_code in PASSING_STATUS
                raise _Failure(
                    f"HTTP status {response.status_code} {response.reason} from {url}",
                    passing=passing,
                    retry_after=response.headers.get("Retry-After"),
                    server_down=passing,
                )
            content = _content(response, url, run)
    except (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Failure(f"{describe(error)} ({url})", passing=True, server_down=not answered) from error
    except requests.RequestException as error:
        raise _Failure(f"{describe(error)} ({url})") from error
    try:
        check_spec_lite(content, job.spec_id)
    except SpecLiteError as error:
        # Some servers end the answer early and call it complete.
        raise _Failure(f"{error.reason} ({url})", passing=True) from error
    return content


def _content(response, url, run):
    """Body of an answer, as long as it was announced."""
    chunks, size = [], 0
    for chunk in response.iter_content(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_BYTES:
            raise _Failure(f"larger than {_MAX_BYTES >> 20} MB ({url})")
        if run.stop.is_set():
            raise _Failure("interrupted")
    return b"".join(chunks)


def _store(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as part:
        part.write_bytes(content)


def _status_table(rows, run):
    """The result, one row for each input."""
    table = Table(
        names=("plate", "mjd", "fiber", "path", "status", "n_bytes", "error"),
        dtype=(int, int, int, object, object, int, object),
    )
    values = [_status_row(row, run) for row in rows]
    if values:
        table = Table(rows=values, names=table.colnames)
    for name in ("path", "status", "error"):
        table[name] = table[name].astype(str)
    return table


def _status_row(row, run):
    if isinstance(row, Exception):
        return -1, -1, -1, "", "failed", 0, str(row)
    error = row.error
    if not error and row.status == "failed":
        error = f"not tried after {run.patience} failures in a row: {run.reason}"
    return (*_numbers(row.spec_id), str(row.path), row.status, row.n_bytes, error)


def _numbers(spec_id):
    return spec_id.plate, spec_id.mjd, spec_id.fiber
