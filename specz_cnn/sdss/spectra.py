"""From a question to spectra in memory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from specz_cnn.config import conf
from specz_cnn.io import SpecLiteError, read_spec_lite
from specz_cnn.sdss.download import download_spectra
from specz_cnn.sdss.errors import SDSSError, SDSSWarning
from specz_cnn.sdss.ids import as_specids
from specz_cnn.sdss.search import search_spectra

if TYPE_CHECKING:
    from typing import Any

    from astropy.coordinates import SkyCoord
    from specutils import SpectrumList

    from specz_cnn.io.bitmask import MaskPolicy
    from specz_cnn.typing import PathLike

__all__ = ["get_spectra"]

# How many failures a message lists.
_LISTED = 3


def get_spectra(
    coordinates: SkyCoord | None = None,
    *,
    ids: Any = None,
    directory: PathLike | None = None,
    mask: MaskPolicy | int = "default",
    progress: bool | None = None,
    data_release: int | None = None,
    **criteria: Any,
) -> SpectrumList:
    """Find spectra of SDSS, fetch them and read them.

    Parameters
    ----------
    coordinates : `~astropy.coordinates.SkyCoord`, optional
        One position or many.
    ids : SpecID, int, str, table, or iterable of these, optional
        Names of spectra.  Without other criteria they are fetched straight away, and nothing is asked of SkyServer.
    directory : path-like, optional
        Where the files are kept; the cache directory if not given.
    mask : {"ivar", "default", "hard"} or int
        Mask policy, see :func:`~specz_cnn.io.bad_pixels`.
    progress : bool, optional
        Whether to show a progress bar; if not given, only on a terminal.
    data_release : int, optional
        ``conf.data_release`` if not given.
    **criteria
        Further arguments of :func:`search_spectra`, such as ``radius``, ``plate``, ``cls`` or ``max_rows``.

    Returns
    -------
    `~specutils.SpectrumList`
        In order of the search result; ``meta["query_index"]`` of each is the position in the input that it belongs
        to.  Empty if nothing matches.

    Raises
    ------
    SDSSError
        If SkyServer cannot be reached, or none of the files can be fetched.
    TypeError, ValueError
        If an argument makes no sense.

    Warns
    -----
    SDSSWarning
        If nothing matches, or some of the files cannot be fetched; the message says which.
    """
    from specutils import SpectrumList

    data_release = conf.data_release if data_release is None else data_release
    if ids is not None and coordinates is None and not criteria:
        found = as_specids(ids)
        positions = range(len(found))
    else:
        found = search_spectra(coordinates, ids=ids, data_release=data_release, **criteria)
        positions = found["query_index"].tolist()
    if not len(found):
        warnings.warn(f"no spectrum of SDSS DR{data_release} matches", SDSSWarning, stacklevel=2)
        return SpectrumList()
    files = download_spectra(found, directory, data_release=data_release, progress=progress)
    spectra, problems = SpectrumList(), []
    for position, row in zip(positions, files, strict=True):
        try:
            if row["status"] not in ("ok", "present"):
                raise SpecLiteError(row["path"], row["error"])
            spectrum = read_spec_lite(row["path"], mask=mask)
        except SpecLiteError as error:
            problems.append(f"{row['plate']}-{row['mjd']}-{row['fiber']}: {error.reason}")
            continue
        spectrum.meta["query_index"] = position
        spectra.append(spectrum)
    if problems:
        _report(problems, len(files))
    return spectra


def _report(problems, n_files):
    """Raise if there is no spectrum at all, warn if some are missing."""
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    message = f"{len(problems)} of {n_files} spectra are not to be had: {'; '.join(problems[:_LISTED])}{more}"
    if len(problems) == n_files:
        raise SDSSError(message)
    warnings.warn(message, SDSSWarning, stacklevel=3)
