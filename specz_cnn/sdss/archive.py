"""Where the SDSS archive (SAS) keeps spectra."""

from __future__ import annotations

import re

from specz_cnn.config import conf

__all__ = ["PUBLISHED", "lite_path", "lite_url", "reductions", "rsync_root"]

# Plates from here on were observed with the BOSS spectrographs.
_FIRST_BOSS_PLATE = 3510

# First and last plate of SDSS-I/II, of SEGUE-2 and of the stellar clusters, in the order of their numbers of spectra.
_LEGACY = {"26": (1, 3006), "104": (2640, _FIRST_BOSS_PLATE - 1), "103": (1960, 2912)}

# Reductions of BOSS spectra by data release; releases after the last one keep its own.
_BOSS = {
    9: ("v5_4_45",),
    10: ("v5_5_12",),
    11: ("v5_6_5",),
    12: ("v5_7_0", "v5_7_2"),
    13: ("v5_9_0",),
    14: ("v5_10_0",),
    15: ("v5_10_0",),
    16: ("v5_13_0",),
    17: ("v5_13_2",),
}


#: Names of all reductions whose spectra were published.
PUBLISHED = frozenset(_LEGACY) | {run2d for names in _BOSS.values() for run2d in names}


def reductions(plate, data_release=None):
    """Reductions that spectra of a plate may have in a release.

    Parameters
    ----------
    plate : int
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    tuple of str
        The likeliest first.  Some legacy plates do not tell their reduction.
    """
    if plate < _FIRST_BOSS_PLATE:
        return tuple(run2d for run2d, (first, last) in _LEGACY.items() if first <= plate <= last)
    release = conf.data_release if data_release is None else data_release
    return _BOSS[min(max(release, min(_BOSS)), max(_BOSS))]


def lite_path(plate: int, filename: str, run2d: str, data_release: int | None = None) -> str:
    """Path of a spec-lite file relative to the root of the archive.

    Parameters
    ----------
    plate : int
    filename : str
    run2d : str
        Reduction.
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    str
        With forward slashes.
    """
    release = conf.data_release if data_release is None else data_release
    if release >= 18:
        tree = "spectro/sdss/redux"
    elif run2d.startswith("v"):
        tree = "eboss/spectro/redux" if release >= 13 else "boss/spectro/redux"
    else:
        tree = "sdss/spectro/redux"
    return f"dr{release}/{tree}/{run2d}/spectra/lite/{plate:04d}/{filename}"


def lite_url(path):
    """URL of a path of the archive under ``conf.sas_baseurl``."""
    return f"{conf.sas_baseurl.rstrip('/')}/{path}"


def rsync_root():
    """Root of the archive for rsync, which has no ``sas`` in it."""
    host = re.sub(r"^[a-z]+://", "", conf.sas_baseurl.rstrip("/"))
    return f"rsync://{re.sub(r'/sas$', '', host)}"
