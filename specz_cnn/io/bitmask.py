"""Pixel masks of SDSS spectra: the bits of SPPIXMASK, and named policies that say which pixels are bad."""

from __future__ import annotations

from operator import index
from typing import Literal, get_args

import numpy as np

__all__ = ["MASK_POLICIES", "SPPIXMASK", "MaskPolicy", "bad_pixels", "decode_sppixmask", "mask_bits"]

#: Bits of ``and_mask`` and ``or_mask`` by name (https://www.sdss4.org/dr16/algorithms/bitmasks/#SPPIXMASK).
SPPIXMASK = {
    "NOPLUG": 0,
    "BADTRACE": 1,
    "BADFLAT": 2,
    "BADARC": 3,
    "MANYBADCOLUMNS": 4,
    "MANYREJECTED": 5,
    "LARGESHIFT": 6,
    "BADSKYFIBER": 7,
    "NEARWHOPPER": 8,
    "WHOPPER": 9,
    "SMEARIMAGE": 10,
    "SMEARHIGHSN": 11,
    "SMEARMEDSN": 12,
    "NEARBADPIXEL": 16,
    "LOWFLAT": 17,
    "FULLREJECT": 18,
    "PARTIALREJECT": 19,
    "SCATTEREDLIGHT": 20,
    "CROSSTALK": 21,
    "NOSKY": 22,
    "BRIGHTSKY": 23,
    "NODATA": 24,
    "COMBINEREJ": 25,
    "BADFLUXFACTOR": 26,
    "BADSKYCHI": 27,
    "REDMONSTER": 28,
}

MaskPolicy = Literal["ivar", "default", "hard"]

#: Names of the mask policies.
MASK_POLICIES = get_args(MaskPolicy)

_ALL_BITS = 0xFFFFFFFF
# Bits that say that the flux itself is missing.  The others are set on many good pixels: some spectra carry one of
# them on every pixel.
_DEFAULT_BITS = sum(1 << SPPIXMASK[name] for name in ("FULLREJECT", "NOSKY", "NODATA"))
_POLICY_BITS = {"ivar": 0, "default": _DEFAULT_BITS, "hard": _ALL_BITS}


def mask_bits(policy: MaskPolicy | int) -> int:
    """Bits of the AND mask that make a pixel bad under a policy.

    Parameters
    ----------
    policy : {"ivar", "default", "hard"} or int
        ``"ivar"`` for no bit at all, ``"default"`` for FULLREJECT, NOSKY and NODATA, ``"hard"`` for every bit; an
        integer is taken as it is.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there is no such policy, or the integer does not fit into 32 bits.
    """
    if isinstance(policy, str) and policy in _POLICY_BITS:
        return _POLICY_BITS[policy]
    try:
        bits = None if isinstance(policy, bool | str) else index(policy)
    except TypeError:
        bits = None
    if bits is None or not 0 <= bits <= _ALL_BITS:
        names = ", ".join(repr(name) for name in MASK_POLICIES)
        raise ValueError(f"mask must be {names} or an integer of 32 bits, not {policy!r}")
    return bits


def bad_pixels(
    flux: np.ndarray,
    ivar: np.ndarray,
    and_mask: np.ndarray | None = None,
    *,
    policy: MaskPolicy | int = "default",
) -> np.ndarray:
    """Pixels that must not be used.

    Under every policy these are the pixels without weight (``ivar <= 0``) and those whose flux or inverse variance is
    not finite; the policy says which bits of the AND mask count as well.

    Parameters
    ----------
    flux, ivar : `~numpy.ndarray`, shape (n,)
        Flux and inverse variance.
    and_mask : `~numpy.ndarray` of int, shape (n,), optional
        SPPIXMASK bits that were set in every exposure.
    policy : {"ivar", "default", "hard"} or int
        See :func:`mask_bits`.

    Returns
    -------
    `~numpy.ndarray` of bool, shape (n,)
        True for bad pixels.

    Raises
    ------
    ValueError
        For an unknown policy.
    """
    bits = mask_bits(policy)
    # "Not above zero" is true for NaN too; an infinite weight leaves the comparison with infinity.
    good = (ivar > 0) & (ivar < np.inf) & np.isfinite(flux)
    if bits and and_mask is not None:
        # Brought to the type of the mask, where bit 31 of a signed integer is its sign.
        good &= (and_mask & np.array(bits).astype(and_mask.dtype)) == 0
    return ~good


def decode_sppixmask(value: int) -> list[str]:
    """Names of the bits set in a mask value.

    Parameters
    ----------
    value : int

    Returns
    -------
    list of str
        In order of the bits; a bit without a name is given as ``BIT<n>``.
    """
    names = {bit: name for name, bit in SPPIXMASK.items()}
    value = index(value) & _ALL_BITS
    return [names.get(bit, f"BIT{bit}") for bit in range(32) if value >> bit & 1]
