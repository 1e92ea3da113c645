"""Objects on the sky: samples and splits that keep all spectra of one object together, the same tomorrow."""

from __future__ import annotations

import hashlib

import numpy as np

from specz_cnn.evaluate.split import groups_from_positions

__all__ = ["object_names", "places", "split_objects"]


def object_names(columns):
    """A name for the object of each row of a catalogue.

    Parameters
    ----------
    columns : mapping of str to array_like
        Names in lower case.  ``group`` if there is one, else the position (``ra, dec`` in degrees; spectra within 1.5
        arcsec are one object), else ``plate, mjd, fiber`` (or ``fiberid``): each spectrum is its own object.

    Returns
    -------
    `~numpy.ndarray` of str, shape (n,)
    """
    if "group" in columns:
        return np.asarray(columns["group"]).astype(str)
    fiber = "fiberid" if "fiberid" in columns else "fiber"
    numbers = [np.asarray(columns[name]).astype(int).astype(str) for name in ("plate", "mjd", fiber)]
    names = np.char.add(np.char.add(numbers[0], "-"), np.char.add(np.char.add(numbers[1], "-"), numbers[2]))
    if {"ra", "dec"} <= set(columns):
        ra, dec = (np.ma.filled(np.ma.asarray(columns[name], dtype=float), np.nan) for name in ("ra", "dec"))
        return groups_from_positions(ra, dec, names)
    return names


def places(names, salt):
    """A place between 0 and 1 for each object, which its name alone decides.

    Parameters
    ----------
    names : array_like of str, shape (n,)
    salt : str
        Another salt gives independent places.

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
    """
    unique, inverse = np.unique(np.asarray(names).astype(str), return_inverse=True)
    digests = (hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8] for name in unique)
    place = np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], dtype=np.float64)
    return place[inverse.reshape(-1)]


def split_objects(names, shares, *, salt="specz-cnn parts 1"):
    """Divide objects into parts; one object is in one part only, whatever the sample around it.

    Parameters
    ----------
    names : array_like of str, shape (n,)
        Name of each spectrum's object.
    shares : dict of str to float
        The parts and their shares, which add up to one.
    salt : str

    Returns
    -------
    `~numpy.ndarray` of str, shape (n,)

    Raises
    ------
    ValueError
        If the shares do not add up to one.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares of {', '.join(shares)} must add up to one, not {sum(shares.values()):g}")
    edges = np.cumsum(list(shares.values()))[:-1]
    return np.array(list(shares))[np.searchsorted(edges, places(names, salt), side="right")]
