"""Positions: the right place on the sky, or an error."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from specz_cnn.sdss.positions import parse_position, positions_from_table

S = (150.12, -2.21)


@pytest.mark.parametrize(
    "text",
    [
        "150.12 -2.21",
        "150.12,-2.21",
        "150.12, -2.21",
        "150.12; -2.21",
        "150.12\t-2.21",
        "150.12 \u22122.21",
        "150.12 \u20132.21",
        "150.12\u00a0\u22122.21",
        "150.12 \u2212 2.21",
        "150.12-2.21",
        "150.12 -2.21deg",
        "150.12 -2.21d",
        "150.12deg -2.21deg",
        "150.12d -2.21",
        "150.12\u00b0 \u22122.21\u00b0",
        "10:00:28.8 -02:12:36",
        "10:00:28.8 \u221202:12:36",
        "10:00:28.8, -2:12:36",
        "10h00m28.8s -2d12m36s",
        "10h00m28.8s-02d12m36s",
        "10h 00m 28.8s -02d 12m 36s",
        "10 00 28.8 -02 12 36",
        "10 00 28.8, -02 12 36",
        "150d07m12s -2d12m36s",
        "150\u00b007\u203212\u2033 \u22122\u00b012\u203236\u2033",
        "10.008h -2.21",
        "SDSS J100028.80-021236.0",
        "J100028.80-021236.0",
    ],
)
def test_one_place_in_many_words(text):
    np.testing.assert_allclose(parse_position(text), S, atol=1e-6)


def test_other_places():
    np.testing.assert_allclose(parse_position("\u22122.5 \u22123.5"), (357.5, -3.5))
    np.testing.assert_allclose(parse_position("00:00:00 -00:30:00"), (0, -0.5))
    np.testing.assert_allclose(parse_position("360 90"), (0, 90))
    np.testing.assert_allclose(parse_position("10.5 2.21deg"), (10.5, 2.21))
    np.testing.assert_allclose(parse_position("23:59:59.9 +89:59:59"), (359.99958, 89.99972), atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "150.12",
        "",
        "150.12 2.21 3",
        "150,12 2,21",
        "150.12 -02:12:36",  # degrees or hours?
        "10.008 -02:12:36",
        "10:00:28.8 -2.21",
        "150:07:12 -2:12:36",
        "10:61:00 -2:12:36",
        "10 00 -02 12",
        "400 2",
        "150.12 -92",
        "150.12 2.21h",
        "l=120.5 b=30.2",
        "M87",
        "nan nan",
        "150.12 2.21 B1950",
    ],
)
def test_no_position_or_one_in_doubt(text):
    with pytest.raises(ValueError, match="position"):
        parse_position(text)


def test_tables():
    tables = [
        Table({"ra": [S[0]], "dec": [S[1]]}),
        Table({"RA": ["10:00:28.8"], "DEC": ["\u221202:12:36"]}),
        Table({"RAJ2000": ["150.12"], "DEJ2000": ["-2.21"]}),
        QTable({"ra": [S[0] / 15] * u.hourangle, "dec": [S[1]] * u.deg}),
        QTable({"ra": [np.radians(S[0])] * u.rad, "dec": [np.radians(S[1])] * u.rad}),
        Table({"ra": np.array([b"150.12"]), "dec": np.array([b"-2.21"])}),
    ]
    for table in tables:
        ra, dec = positions_from_table(table)
        np.testing.assert_allclose((ra[0], dec[0]), S, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"x": [1.0]}), "my.csv has no columns ra and dec; it has x"),
        (Table({"ra": [1.0, np.nan], "dec": [1.0, 2.0]}), "my.csv, row 2: no position"),
        (Table({"ra": ["1.0", "null"], "dec": ["1.0", "null"]}), "my.csv, row 2: no position"),
        (Table({"ra": ["10.1"], "dec": ["+02:12:36"]}), "my.csv, row 1: cannot tell"),
        (Table({"ra": [1.0, 2.0], "dec": [1.0, 95.0]}), "my.csv, row 2: .* not on the sky"),
        (QTable({"ra": [1.0] * u.km, "dec": [1.0] * u.deg}), "my.csv: column ra is in km"),
        (
            Table({"ra": np.ma.array([1.0, 2.0], mask=[0, 1]), "dec": [1.0, 2.0]}),
            "my.csv, row 2: no position",
        ),
    ],
)
def test_tables_without_positions(table, message):
    with pytest.raises(ValueError, match=message):
        positions_from_table(table, "my.csv")
