"""Lists of files for wget and rsync."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from specz_cnn.config import conf
from specz_cnn.io.whole import write_whole
from specz_cnn.sdss.archive import lite_url, rsync_root
from specz_cnn.sdss.ids import as_specids

if TYPE_CHECKING:
    from typing import Any

    from specz_cnn.typing import PathLike

__all__ = ["write_rsync_list", "write_url_list"]


def write_url_list(ids: Any, path: PathLike = "download_url.txt", *, data_release: int | None = None) -> Path:
    """Write the URLs of spec-lite files, one a line, for ``wget -i``.

    Parameters
    ----------
    ids : SpecID, int, str, table, or iterable of these
        Names of spectra, as for :func:`download_spectra`.  Where the reduction of a spectrum is not known, its
        likeliest URL is written.
    path : path-like
        File to write.
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    `~pathlib.Path`
        The file.  ``wget -x -nH --cut-dirs=1 -i download_url.txt`` lays the spectra out as
        :func:`download_spectra` does, which then checks them and fetches what is missing.

    Raises
    ------
    ValueError, TypeError
        If something names no spectrum.
    """
    return _write(path, [lite_url(name) for name in _paths(ids, data_release)])


def write_rsync_list(ids: Any, path: PathLike = "speclist.txt", *, data_release: int | None = None) -> str:
    """Write the paths of spec-lite files below the root of the archive, one a line, for ``rsync --files-from``.

    Parameters
    ----------
    ids : SpecID, int, str, table, or iterable of these
        Names of spectra, as for :func:`write_url_list`.
    path : path-like
        File to write.
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    str
        The command that fetches the files into the directory ``.``, laid out as :func:`download_spectra` does.

    Raises
    ------
    ValueError, TypeError
        If something names no spectrum.
    """
    names = _paths(ids, data_release)
    # The release is a module of the rsync server: it belongs to the address, not to the paths.
    release = f"dr{conf.data_release if data_release is None else data_release}"
    path = _write(path, [name.removeprefix(f"{release}/") for name in names])
    return f"rsync -avL --files-from={path} {rsync_root()}/{release} {release}"


def _paths(ids, data_release):
    """Paths in the archive, each once, in order."""
    return list(dict.fromkeys(name.lite_paths(data_release)[0] for name in as_specids(ids)))


def _write(path, lines):
    path = Path(path)
    with write_whole(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return path
