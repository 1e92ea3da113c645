from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from specz_cnn.evaluate import split_half
from specz_cnn.evaluate.split import groups_from_positions


def test_the_split_never_moves():
    """Published figures rest on these sides."""
    half = split_half(np.arange(16))
    side = "".join("c" if name == "calibration" else "v" for name in half)
    assert side == "vcccvvcvvcccvcvv"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.randoms())
def test_an_object_stays_on_its_side(group, random):
    side = dict(zip(group, split_half(group), strict=True))
    assert [side[name] for name in group] == split_half(group).tolist()
    random.shuffle(group)
    assert [side[name] for name in group] == split_half(group).tolist()


def test_integers_and_text_are_the_same_objects():
    assert_array_equal(split_half(np.arange(100)), split_half(np.arange(100).astype(str)))
    assert_array_equal(split_half(np.arange(100)), split_half(np.arange(100).astype("S3")))


def test_halves_are_about_equal():
    assert 0.48 < np.mean(split_half(np.arange(20000)) == "validation") < 0.52


def test_floats_name_no_objects():
    with pytest.raises(TypeError, match="integers or text"):
        split_half([1.0, 2.0])


def test_no_spectra():
    assert split_half([]).shape == (0,)


def test_positions_make_objects():
    arcsec = 1 / 3600
    ra = [10.0, 10.0 + 0.4 * arcsec, 200.0, 10.0 + 60 * arcsec, np.nan, np.nan]
    names = ["b", "a", "c", "d", "e", "f"]
    assert_array_equal(groups_from_positions(ra, np.zeros(6), names), ["a", "a", "c", "d", "e", "f"])
    assert_array_equal(groups_from_positions([np.nan], [0.0], ["x"]), ["x"])
