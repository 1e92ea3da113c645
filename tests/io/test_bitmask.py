"""Mask policies and the bits of SPPIXMASK."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specz_cnn.io import MASK_POLICIES, SPPIXMASK, bad_pixels, decode_sppixmask
from specz_cnn.io.bitmask import mask_bits

int32 = st.integers(-(1 << 31), (1 << 31) - 1)


def test_policies_differ_in_the_bits_they_respect():
    and_mask = np.array([0, 1 << SPPIXMASK["BRIGHTSKY"], 1 << SPPIXMASK["NODATA"]], np.int32)
    flux, ivar = np.ones(3), np.ones(3)
    bad = {policy: bad_pixels(flux, ivar, and_mask, policy=policy).tolist() for policy in MASK_POLICIES}
    assert bad == {
        "ivar": [False, False, False],
        "default": [False, False, True],
        "hard": [False, True, True],
    }
    assert bad_pixels(flux, ivar, and_mask, policy=1 << 23).tolist() == [False, True, False]
    assert bad_pixels(flux, ivar, None, policy="hard").tolist() == [False, False, False]


@pytest.mark.parametrize("policy", [*MASK_POLICIES, 0])
def test_pixels_without_weight_are_bad_under_every_policy(policy):
    flux = np.array([1, 1, 1, 1, np.nan, np.inf, 1], np.float32)
    ivar = np.array([1, 0, -1, np.nan, 1, 1, np.inf], np.float32)
    assert bad_pixels(flux, ivar, policy=policy).tolist() == [False] + 6 * [True]


@given(masks=st.lists(int32, min_size=1), bits=st.integers(0, 0xFFFFFFFF))
def test_integer_policy_is_the_bitwise_and(masks, bits):
    ones = np.ones(len(masks))
    expected = [(mask % (1 << 32)) & bits != 0 for mask in masks]
    for dtype in (np.int32, np.int64):
        bad = bad_pixels(ones, ones, np.array(masks, dtype), policy=bits)
        assert bad.tolist() == expected


@given(int32)
def test_stricter_policies_mask_more(mask):
    bad = [bad_pixels(np.ones(1), np.ones(1), np.array([mask], np.int32), policy=p)[0] for p in MASK_POLICIES]
    assert bad == sorted(bad)


@pytest.mark.parametrize("policy", ["soft", -1, 1 << 32, 1.0, True, None])
def test_unknown_policy_is_refused(policy):
    with pytest.raises(ValueError, match="'ivar', 'default', 'hard' or an integer"):
        mask_bits(policy)


@given(int32)
def test_decoded_names_give_the_value_back(value):
    bits = 0
    for name in decode_sppixmask(value):
        bits |= 1 << (SPPIXMASK[name] if name in SPPIXMASK else int(name.removeprefix("BIT")))
    assert bits == value % (1 << 32)


def test_bits_are_distinct():
    assert len(set(SPPIXMASK.values())) == len(SPPIXMASK)
