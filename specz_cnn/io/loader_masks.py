"""Masks that the SDSS loaders of specutils set, told from those of their users.

Those loaders mask every pixel with any bit, which can be the whole of a good spectrum; what a user masks afterwards must
count all the same.  So what a loader has set is remembered for as long as its spectrum is there.  A slice or a copy of one
is another spectrum, of which nothing is known; its mask is not used.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import registry
from astropy.nddata import InverseVariance, StdDevUncertainty

__all__ = ["own_mask", "remember_masks", "use_mask"]

LABELS = ("SDSS-III/IV spec", "SDSS-V spec", "SDSS-I/II spSpec", "SDSS spPlate")


_as_read: weakref.WeakKeyDictionary[Any, np.ndarray] = weakref.WeakKeyDictionary()


def remember_masks():
    """Let the loaders of specutils note the masks that they set; what they return stays the same.  Again does no harm."""
    from specutils import Spectrum, SpectrumList

    for cls in (Spectrum, SpectrumList):
        for label in LABELS:
            try:
                load = registry.get_reader(label, cls)
            except registry.IORegistryError:
                continue
            if not hasattr(load, "notes_masks"):
                registry.register_reader(label, cls, _noting(load), force=True)


def _noting(load):
    @functools.wraps(load)
    def load_and_note(*args, **kwargs):
        found = load(*args, **kwargs)
        for spectrum in found if isinstance(found, list) else [found]:
            _note(spectrum)
        return found

    load_and_note.notes_masks = True
    return load_and_note


def use_mask(spectrum):
    """Say of a spectrum that no loader has masked any of it: all of its mask is meant."""
    _as_read[spectrum] = np.zeros(spectrum.flux.shape, dtype=bool)


def _note(spectrum):
    if isinstance(spectrum.mask, np.ndarray):
        _as_read[spectrum] = spectrum.mask.copy()


def own_mask(spectrum):
    """The pixels that the user of a spectrum has masked.

    Parameters
    ----------
    spectrum : `~specutils.Spectrum`

    Returns
    -------
    `~numpy.ndarray` of bool or None
        The mask of the spectrum; of one that an SDSS loader of specutils has made, what differs from the mask that it
        had then.  None if nothing is masked by the user.
    """
    if spectrum.mask is None:
        return None
    mask = np.broadcast_to(np.asarray(spectrum.mask, dtype=bool), spectrum.flux.shape)
    before = _as_read.get(spectrum)
    if before is None:
        return None if _is_from_sdss_loader(spectrum) else mask
    if (before & ~mask).any():
        return mask  # a mask of the user's in the place of that one
    added = mask & ~before
    return added if added.any() else None


def _is_from_sdss_loader(spectrum):
    """Whether an SDSS loader of specutils seems to have made a spectrum: a primary header is all that they keep in meta."""
    meta = spectrum.meta if isinstance(spectrum.meta, Mapping) else {}
    header = meta.get("header")
    kept = isinstance(spectrum.uncertainty, InverseVariance | StdDevUncertainty)
    if not hasattr(header, "get") or "and_mask" in meta or not kept:
        return False
    return "SDSS" in str(header.get("TELESCOP", "")) and "VERS2D" in header
