"""Which labelled spectra choose calibrations and thresholds, and which only judge them.

Both halves come from a hash of the object, not from a random number: an object never changes sides when
spectra are added, removed or reordered, and all observations of one object stay together.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

__all__ = ["HALVES", "group_names", "groups_from_positions", "split_half"]

#: Names of the two halves.
HALVES = ("calibration", "validation")

# Part of what is hashed. Changing it would move objects between the halves and void every published figure.
_SALT = "specz-cnn validation split 1"


def group_names(group):
    """Text names of object groups, such that ``7``, ``np.int64(7)`` and ``"7"`` are one group.

    Parameters
    ----------
    group : array_like of int or str, shape (n,)
        Identifier of the object that each spectrum belongs to.

    Returns
    -------
    `~numpy.ndarray` of str, shape (n,)

    Raises
    ------
    TypeError
        If the identifiers are neither integers nor text: a float has no unique text.
    """
    group = np.asarray(group)
    if group.size and group.dtype.kind not in "iuUS":
        raise TypeError(f"groups must be integers or text, not {group.dtype}")
    if group.dtype.kind == "S":
        return np.char.decode(group, "utf-8")
    return group.astype(str)


def split_half(group: Any) -> np.ndarray:
    """Half of the labelled data that each object belongs to.

    Parameters
    ----------
    group : array_like of int or str, shape (n,)
        Identifier of the object that each spectrum belongs to.

    Returns
    -------
    `~numpy.ndarray` of str, shape (n,)
        ``"calibration"`` or ``"validation"``.

    Examples
    --------
    >>> from specz_cnn.evaluate import split_half
    >>> split_half([3, 4, 5, 4])
    array(['calibration', 'validation', 'validation', 'validation'],
          dtype='<U11')
    """
    names, inverse = np.unique(group_names(group), return_inverse=True)
    side = [hashlib.sha256(f"{_SALT}:{name}".encode()).digest()[0] & 1 for name in names]
    return np.array(HALVES)[np.array(side, dtype=int)][inverse.reshape(-1)]


def groups_from_positions(ra: ArrayLike, dec: ArrayLike, names: Any, *, radius: float = 1.5) -> np.ndarray:
    """Group spectra of one object by their positions (friends of friends).

    Parameters
    ----------
    ra, dec : array_like of float, shape (n,)
        Position in degrees; a spectrum without one (NaN) is an object of its own.
    names : array_like of str, shape (n,)
        A unique name of each spectrum, for example its plate-mjd-fiber.
    radius : float
        Linking length in arcsec. Targets of SDSS are at least 55 arcsec apart on one plate, repeated
        observations of one target within a fraction of an arcsec.

    Returns
    -------
    `~numpy.ndarray` of str, shape (n,)
        The alphabetically first name among the spectra of the object.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord, search_around_sky
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = group_names(names)
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if known.size < 2:
        return names
    coordinates = SkyCoord(ra[known], dec[known], unit="deg")
    first, second, _, _ = search_around_sky(coordinates, coordinates, radius * u.arcsec)
    links = coo_array(
        (np.ones(first.size, bool), (known[first], known[second])), shape=(names.size, names.size)
    )
    _, component = connected_components(links, directed=False)
    # In alphabetical order, the first member of each component gives it its name.
    order = np.argsort(names, kind="stable")
    _, leader = np.unique(component[order], return_index=True)
    return names[order][leader][component]
