"""The registry of flags, and what is made from it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specz_cnn import RedshiftFlag, decode_flags
from specz_cnn.results.flags import FLAGS


def test_registry_is_consistent():
    bits, names = [flag.bit for flag in FLAGS], [flag.name for flag in FLAGS]
    assert bits == sorted(set(bits))
    assert len(set(names)) == len(names)
    for flag in FLAGS:
        assert flag.name == flag.name.upper()
        assert flag.line.endswith(".") and "\n" not in flag.line
        assert len(flag.paragraph) > len(flag.line)
        assert RedshiftFlag[flag.name] == flag.value == 1 << flag.bit


def test_bits_of_zwarning():
    shared = {"LITTLE_COVERAGE": 1, "SMALL_DELTA": 2, "MANY_OUTLIERS": 4, "Z_FITLIMIT": 5, "NODATA": 9}
    shared |= {"POORDATA": 11}
    assert {flag.name: flag.bit for flag in FLAGS if flag.bit < 24} == shared
    own = ["LOW_CONFIDENCE", "NOT_QSO", "MODELS_DISAGREE", "BAD_INPUT", "READ_ERROR", "REST_FRAME"]
    assert [flag.name for flag in FLAGS if flag.bit >= 24] == own


def test_documentation_names_every_flag():
    for flag in FLAGS:
        assert flag.name in RedshiftFlag.__doc__
        assert str(flag.value) in RedshiftFlag.__doc__


@given(st.sets(st.sampled_from(FLAGS)))
def test_decode_gives_what_was_set(flags):
    value = sum(flag.value for flag in flags)
    expected = sorted(flags, key=lambda flag: flag.bit)
    assert decode_flags(value) == [flag.name for flag in expected]
    assert decode_flags(RedshiftFlag(value)) == [flag.name for flag in expected]
    assert decode_flags(value, lines=True) == [flag.line for flag in expected]


def test_decode_a_column():
    assert decode_flags(np.array([0, 512, 516])) == [[], ["NODATA"], ["SMALL_DELTA", "NODATA"]]
    assert decode_flags([]) == []


def test_decode_unknown_bits():
    assert decode_flags((1 << 40) + 2) == ["LITTLE_COVERAGE", "BIT_40"]


@pytest.mark.parametrize("value", [-1, [[1]]])
def test_decode_refuses(value):
    with pytest.raises(ValueError, match="flags"):
        decode_flags(value)


def test_flags_survive_pickling():
    flags = RedshiftFlag.NOT_QSO | RedshiftFlag.NODATA
    assert pickle.loads(pickle.dumps(flags)) is flags
