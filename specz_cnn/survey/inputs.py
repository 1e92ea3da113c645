"""Which spectra: directory trees, patterns, list files and tables of observations, as a stream of paths.

Nothing here holds more than one directory's names in memory, and the order is always the same: the order of the
sources, and within a directory tree that of the sorted names.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.io.formats.remote import is_address
from specz_cnn.io.names import spec_file_name
from specz_cnn.io.tables import text_encoding, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from specz_cnn.typing import PathLike

__all__ = ["iter_paths", "read_list", "read_paths", "table_paths", "write_paths"]

#: Where a file may lie below the root of a tree: as SDSS has it (with and without RUN2D), by plate, and flat.
LAYOUTS = (
    "{run2d}/spectra/lite/{plate:04d}/{name}",
    "spectra/lite/{plate:04d}/{name}",
    "{plate:04d}/{name}",
    "{name}",
)


#: Names of files that surveys give to spectra, and of all that can hold one, where a directory has none of these.
FAMILIAR = re.compile(
    r"(?:spec|spspec|coadd|spectra)-.*\.(?:fits?|fts)(?:\.(?:gz|bz2|xz|fz))?", re.IGNORECASE
)
ANY = re.compile(r"[^.].*\.(?:fits?|fts|csv|txt|dat|ascii|ecsv)(?:\.(?:gz|bz2|xz|fz))?", re.IGNORECASE)


def iter_paths(sources: Any, *, patterns: Sequence[str] | None = None) -> Iterator[str]:
    """Paths of spectra, one by one.

    Parameters
    ----------
    sources : path-like, or iterable of path-like
        A directory stands for all files below it whose names match ``patterns``, sorted; a name with ``*``, ``?`` or
        ``[`` for the files it matches, unless there is a file of that very name; anything else (an address, too) for
        itself, whether it exists or not, so that a missing file becomes a row that says so.
    patterns : sequence of str, optional
        Names of spectrum files in a directory tree.  By default those of surveys (``spec-*.fits``, ``spSpec-*.fit``,
        ``coadd-*.fits``, ``spectra-*.fits``, in any case, compressed or not); if there are none of these, all FITS and
        text files.

    Yields
    ------
    str
        Absolute path.

    Raises
    ------
    FileNotFoundError
        If a pattern or directory has no spectra.
    OSError
        If a directory cannot be read.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    for source in sources:
        if is_address(source):
            yield source
            continue
        path = os.path.abspath(os.path.expanduser(os.fspath(source)))
        if os.path.isdir(path):
            yield from _some(_tree(path, patterns), f"{source}: no spectrum files in this directory")
        elif glob.has_magic(path) and not os.path.exists(path):
            matches = sorted(glob.iglob(path, recursive=True))
            yield from _some(iter(matches), f"{source}: no files match")
        else:
            yield path


def _tree(directory, patterns):
    """Spectrum files of a tree: by the patterns, or by the names that surveys give, or all that there are."""
    if patterns is not None:
        tests = [lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)]
    else:
        tests = [FAMILIAR.fullmatch, ANY.fullmatch]
    for test in tests:
        found = False
        for path in _walk(directory, test, ()):
            found = True
            yield path
        if found:
            return


def _some(paths, message):
    """The paths, or an error if there are none."""
    found = False
    for path in paths:
        found = True
        yield path
    if not found:
        raise FileNotFoundError(message)


def _walk(directory, test, ancestors):
    """Matching files of a tree, sorted, following links but never in a circle."""
    status = os.stat(directory)
    identity = status.st_dev, status.st_ino
    if identity in ancestors:
        return
    with os.scandir(directory) as entries:
        entries = sorted((entry.name, entry.is_dir()) for entry in entries)
    for name, is_directory in entries:
        path = os.path.join(directory, name)
        if is_directory:
            yield from _walk(path, test, (*ancestors, identity))
        elif test(name):
            yield path


def read_list(file: Any) -> Iterator[str]:
    """Paths in a text file, one a line.

    Parameters
    ----------
    file : path-like or text file
        Empty lines and lines that begin with ``#``, indented or not, do not count.

    Yields
    ------
    str
    """
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as start:
            encoding = text_encoding(start.read(2))
        with open(file, encoding=encoding, errors="surrogateescape") as lines:
            yield from read_list(lines)
        return
    for line in file:
        line = line.strip("\r\n")
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def table_paths(table: Any, root: PathLike, *, layout: Any = None) -> Iterator[str]:
    """Paths of the observations in a catalogue.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With columns ``plate``, ``mjd`` and ``fiber`` (or ``fiberid``), and perhaps ``run2d``, in any case.
    root : path-like
        Directory below which the files lie.
    layout : str, optional
        Where, relative to ``root``, with fields ``{plate}``, ``{mjd}``, ``{fiber}``, ``{run2d}`` and ``{name}``.  If not
        given, the layouts of SDSS (``RUN2D/spectra/lite/PLATE/``), ``PLATE/`` and flat are tried for each file.

    Yields
    ------
    str
        One absolute path a row, in order of the rows; of a file that does not exist, where it would be.

    Raises
    ------
    ValueError
        If the table lacks a column.
    """
    columns = {name.lower(): name for name in table.colnames}
    fiber = "fiber" if "fiber" in columns else "fiberid"
    missing = [name for name in ("plate", "mjd", fiber) if name not in columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {', '.join(table.colnames)}")
    run2d = table[columns["run2d"]] if "run2d" in columns else None
    root = os.path.abspath(os.path.expanduser(os.fspath(root)))
    layouts = [layout] if layout else [text for text in LAYOUTS if run2d is not None or "{run2d}" not in text]
    numbers = zip(table[columns["plate"]], table[columns["mjd"]], table[columns[fiber]], strict=True)
    for row, (plate, mjd, fiber_number) in enumerate(numbers):
        if any(np.ma.is_masked(value) for value in (plate, mjd, fiber_number)):
            raise ValueError(f"row {row + 1} of the table has no plate, MJD or fibre")
        fields: dict[str, Any] = {"plate": int(plate), "mjd": int(mjd), "fiber": int(fiber_number)}
        fields["name"] = spec_file_name(**fields)
        fields["run2d"] = "" if run2d is None else to_text(run2d[row]).strip()
        candidates = [os.path.join(root, text.format(**fields)) for text in layouts]
        found = next((i for i, path in enumerate(candidates) if os.path.exists(path)), 0)
        yield candidates[found]
        # Files of one tree lie alike: look there first from now on.
        layouts.insert(0, layouts.pop(found))


def write_paths(paths, file):
    """Write a stream of paths to a list, one a line.

    Parameters
    ----------
    paths : iterable of path-like
        Made absolute, as workers may run elsewhere.
    file : path-like

    Returns
    -------
    n : int
        Number of paths.
    sha256 : str
        SHA-256 of the list.

    Raises
    ------
    ValueError
        If a name holds a line break.
    """
    digest, n = hashlib.sha256(), 0
    with open(file, "wb") as lines:
        for path in paths:
            line = os.fsencode(path if is_address(path) else os.path.abspath(path))
            if b"\n" in line:
                raise ValueError(f"{path!r}: the name of a file holds a line break")
            line += b"\n"
            digest.update(line)
            lines.write(line)
            n += 1
    return n, digest.hexdigest()


def read_paths(file):
    """The paths of a list made by `write_paths`, one by one."""
    with open(Path(file), "rb") as lines:
        for line in lines:
            yield os.fsdecode(line[:-1])
