from __future__ import annotations

import io
import time

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from specz_cnn import conf
from specz_cnn.sdss import SDSSError, SpecID, search_spectra, skyserver
from specz_cnn.sdss import search as search_module

TALK = 4037498043582664704
COLUMNS = [
    "query_index", "specobjid", "plate", "mjd", "fiber", "run2d", "ra", "dec", "z_pipe", "z_pipe_err", "class_pipe",
    "subclass_pipe", "zwarning_pipe", "sn_median", "instrument", "survey", "science_primary",
]  # fmt: skip


def test_the_experiment_of_the_talk(sdss, spec_rows):
    table = search_spectra(cls="QSO", instrument="BOSS", z_range=(2.8, 3.0))
    expected = [
        row
        for row in spec_rows
        if row["class"] == "QSO"
        and row["instrument"] == "BOSS"
        and 2.8 <= row["z"] <= 3
        and row["sciencePrimary"]
    ]
    assert isinstance(table, QTable)
    assert table.colnames == COLUMNS
    assert sorted(table["specobjid"].tolist()) == sorted(row["specObjID"] for row in expected)
    first = table[0]
    assert (first["plate"], first["mjd"], first["fiber"], first["specobjid"]) == (3586, 55181, 76, TALK)
    assert first["z_pipe"] == pytest.approx(2.82484)
    assert table["specobjid"].dtype == np.uint64
    assert table["ra"].unit == u.deg
    assert table["run2d"][0] == "v5_13_0"
    assert max(table["specobjid"].tolist()) > 1 << 63
    assert all(SpecID.from_specobjid(row["specobjid"]).plate == row["plate"] for row in table)
    assert table.meta["n_queries"] == 1
    assert not table.meta["truncated"]
    assert "SpecObjAll" not in sdss.sql[0]
    table.write(io.StringIO(), format="ascii.ecsv")


def test_one_position(sdss, spec_rows):
    row = spec_rows[10]
    position = SkyCoord(row["ra"], row["dec"], unit="deg").directional_offset_by(30 * u.deg, 1.5 * u.arcsec)
    table = search_spectra(position, radius=2 * u.arcsec)
    assert table.colnames == [*COLUMNS, "separation"]
    assert table["specobjid"].tolist() == [row["specObjID"]]
    assert table["separation"][0].to_value(u.arcsec) == pytest.approx(1.5, abs=1e-3)
    assert table["query_index"].tolist() == [0]
    assert len(search_spectra(position.galactic, radius=2 * u.arcsec)) == 1
    assert len(search_spectra(position, radius=1 * u.arcsec)) == 0


def test_many_positions_in_batches(sdss, spec_rows):
    rows = [row for row in spec_rows if row["sciencePrimary"]]
    positions = SkyCoord([row["ra"] for row in rows], [row["dec"] for row in rows], unit="deg")
    positions = positions[::-1].insert(3, SkyCoord(10 * u.deg, -80 * u.deg))
    table = search_spectra(positions)
    expected = [row["specObjID"] for row in rows[::-1]]
    assert table["specobjid"].tolist() == expected
    assert table["query_index"].tolist() == [n for n in range(len(positions)) if n != 3]
    assert table.meta["unmatched"] == [3]
    assert table.meta["n_queries"] == len(sdss.sql) > 5


def test_one_radius_for_each_position(sdss, spec_rows):
    row = spec_rows[20]
    near = SkyCoord(row["ra"], row["dec"] + 0.01, unit="deg")
    positions = SkyCoord([near, near])
    table = search_spectra(positions, radius=[20, 60] * u.arcsec)
    assert set(table["query_index"].tolist()) == {1}


def test_neighbours_are_sorted_by_separation(sdss, spec_rows):
    position = SkyCoord(spec_rows[20]["ra"], spec_rows[20]["dec"], unit="deg")
    table = search_spectra(position, radius=4 * u.arcmin)
    assert len(table) > 5
    assert (np.diff(table["separation"].value) >= 0).all()
    assert len(search_spectra(position, radius=4 * u.arcmin, science_primary=False)) > len(table)
    quasars = search_spectra(position, radius=4 * u.arcmin, cls="qso", zwarning=0)
    assert 0 < len(quasars) < len(table)
    assert set(quasars["class_pipe"].tolist()) == {"QSO"}


def test_many_ids_in_batches(sdss, spec_rows):
    ids = [row["specObjID"] for row in spec_rows]
    table = search_spectra(ids=[*ids, 12345 << 50 | 76 << 38 | 1300 << 10, ids[0]], science_primary=False)
    assert table["specobjid"].tolist() == [*ids, ids[0]]
    assert table["query_index"].tolist() == [*range(len(ids)), len(ids) + 1]
    assert table.meta["unmatched"] == [len(ids)]
    assert 1 < len(sdss.sql) < 5
    primary = search_spectra(ids=ids)
    assert len(primary) == sum(row["sciencePrimary"] for row in spec_rows)


def test_names_without_a_reduction(sdss, spec_rows):
    names = [f"{row['plate']}-{row['mjd']}-{row['fiberID']}" for row in spec_rows[:40]]
    table = search_spectra(ids=names, science_primary=False)
    assert table["query_index"].tolist() == list(range(40))
    assert table["specobjid"].tolist() == [row["specObjID"] for row in spec_rows[:40]]


def test_plate_mjd_fiber(sdss, spec_rows):
    row = spec_rows[30]
    whole = search_spectra(plate=row["plate"], mjd=row["mjd"], fiber=row["fiberID"], science_primary=False)
    assert whole["specobjid"].tolist() == [row["specObjID"]]
    assert search_spectra(plate=row["plate"], science_primary=False)["specobjid"].tolist() == [
        row["specObjID"]
    ]
    plates = np.array([spec_rows[40]["plate"], 9, spec_rows[30]["plate"], spec_rows[40]["plate"]])
    table = search_spectra(plate=plates, science_primary=False)
    assert table["query_index"].tolist() == [0, 2, 3]
    assert table.meta["unmatched"] == [1]
    everything = search_spectra(plate=[row["plate"] for row in spec_rows], science_primary=False)
    assert everything["query_index"].tolist() == list(range(len(spec_rows)))


def test_conditions(sdss, spec_rows):
    table = search_spectra(survey="boss", sn_min=2.0, zwarning=0, science_primary=False)
    expected = [
        row["specObjID"]
        for row in spec_rows
        if row["survey"] == "boss" and row["snMedian"] >= 2 and row["zWarning"] == 0
    ]
    assert table["specobjid"].tolist() == sorted(expected)
    tolerant = search_spectra(survey="boss", sn_min=2.0, zwarning=4, science_primary=False)
    assert len(tolerant) > len(table)
    assert search_spectra(z_range=(2.9, None))["z_pipe"].min() > 2.899
    assert search_spectra(z_range=(None, 2.72))["z_pipe"].max() < 2.721


def test_pages(sdss, monkeypatch):
    whole = search_spectra(cls="QSO")
    positions = SkyCoord([151, 151.5, 151] * u.deg, [2.1, 2.15, 2.1] * u.deg)
    around = search_spectra(positions, radius=0.3 * u.deg)
    sdss.sql.clear()
    monkeypatch.setattr(search_module, "_PAGE_ROWS", 17)
    paged = search_spectra(cls="QSO")
    assert len(sdss.sql) == len(whole) // 17 + 1
    assert paged["specobjid"].tolist() == whole["specobjid"].tolist()
    again = search_spectra(positions, radius=0.3 * u.deg)
    assert len(again) == len(around) > 100
    assert again["specobjid"].tolist() == around["specobjid"].tolist()
    assert again["query_index"].tolist() == around["query_index"].tolist()


def test_row_limit(sdss):
    whole = search_spectra(cls="QSO")
    some = search_spectra(cls="QSO", max_rows=10)
    assert some["specobjid"].tolist() == whole["specobjid"].tolist()[:10]
    assert some.meta["truncated"]
    exact = search_spectra(cls="QSO", max_rows=len(whole))
    assert len(exact) == len(whole)
    assert not exact.meta["truncated"]


def test_no_match_is_an_empty_table_of_the_same_columns(sdss):
    full, empty = search_spectra(cls="QSO"), search_spectra(cls="STAR")
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    for name in full.colnames:
        assert getattr(empty[name], "unit", None) == getattr(full[name], "unit", None)
        assert empty[name].dtype.kind == full[name].dtype.kind
    assert len(search_spectra(SkyCoord(10, -80, unit="deg"))) == 0
    assert len(search_spectra(ids=[])) == 0
    assert len(search_spectra(SkyCoord([], [], unit="deg"))) == 0


def test_payload_is_not_sent(nowhere):
    (payload,) = search_spectra(SkyCoord(10, -80, unit="deg"), cls="QSO", get_query_payload=True)
    assert payload["format"] == "csv"
    assert "fGetNearbySpecObjEq(10.0000000,-80.0000000,0.03333)" in payload["cmd"]
    assert "s.class = 'QSO'" in payload["cmd"]
    many = search_spectra(ids=[TALK + (n << 38) for n in range(900)], get_query_payload=True)
    assert 5 < len(many) < 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cls": "QSO' OR 1=1; DROP TABLE SpecObj --"}, "cls must be one of"),
        ({"instrument": "BOSS'--"}, "instrument must be one of"),
        ({"survey": "boss;"}, "survey must be one of"),
        ({"cls": 3}, "cls must be one of"),
        ({"z_range": (np.nan, 3)}, "z_range"),
        ({"z_range": (3, 2)}, "z_range is empty"),
        ({"z_range": "2 OR 1=1"}, "z_range must be two redshifts|could not convert"),
        ({"z_range": 2.8}, "z_range must be two redshifts"),
        ({"sn_min": "1 OR 1=1"}, "could not convert"),
        ({"sn_min": np.inf}, "sn_min must be finite"),
        ({"zwarning": -1}, "zwarning"),
        ({"ids": "1 OR 1=1"}, "names no SDSS spectrum"),
        ({"max_rows": 0, "cls": "QSO"}, "max_rows"),
        ({"ids": TALK, "plate": 3586}, "only one of"),
        ({"plate": [1, 2], "mjd": [1, 2, 3]}, "same length"),
        ({"coordinates": SkyCoord(np.nan, 1, unit="deg")}, "position 0 is not finite"),
        ({"coordinates": SkyCoord(1, 1, unit="deg"), "radius": 3}, "radius must be an angle"),
        ({"coordinates": SkyCoord(1, 1, unit="deg"), "radius": -1 * u.arcsec}, "radius must be positive"),
        ({"coordinates": SkyCoord(1, 1, unit="deg"), "radius": [1, 2] * u.arcsec}, "radius must be an angle"),
        ({}, "nothing to search for"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(nowhere, arguments, message):
    with pytest.raises(ValueError, match=message):
        search_spectra(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"coordinates": "150 2"}, {"plate": "3586 OR 1=1"}, {"plate": 3586.0}, {"zwarning": "4"}]
)
def test_bad_types_are_refused(nowhere, arguments):
    with pytest.raises(TypeError, match="must be|interpreted"):
        search_spectra(**arguments)


def test_busy_server_is_asked_again(sdss):
    html = "<html><head><title>x</title></head><body>Service <b>Unavailable</b></body></html>"
    limit = "#Table1\nMaximum 60 queries allowed per minute. Rejected query."
    sdss.moods["sql"] = [(503, html), (200, limit)]
    assert len(search_spectra(cls="QSO", max_rows=3)) == 3
    assert sdss.requests["sql"] == 3
    sdss.moods["sql"] = [(503, html, {"Retry-After": "0"})] * 3
    with pytest.raises(SDSSError, match=r"HTTP status 503 .*\(attempts: 3\)"):
        search_spectra(cls="QSO")
    sdss.moods["sql"] = [(200, limit)] * 3
    with pytest.raises(SDSSError, match="Maximum 60 queries"):
        search_spectra(cls="QSO")


def test_answers_that_are_no_table(sdss):
    sdss.moods["sql"] = [(200, "<html><body>SkyServer is <i>down</i> today</body></html>")]
    with pytest.raises(SDSSError, match="did not answer with a table: SkyServer is down today"):
        search_spectra(cls="QSO")
    sdss.moods["sql"] = [(200, "")]
    with pytest.raises(SDSSError, match="an empty answer"):
        search_spectra(cls="QSO")
    sdss.moods["sql"] = [(400, "<p>Incorrect syntax</p>")]
    with pytest.raises(SDSSError, match="HTTP status 400 .*Incorrect syntax"):
        search_spectra(cls="QSO")
    whole = sdss.answer_sql(search_spectra(cls="QSO", get_query_payload=True)[0]["cmd"].strip())
    sdss.moods["sql"] = [(200, whole[: len(whole) * 2 // 3].rsplit(",", 2)[0])]
    with pytest.raises(SDSSError, match="broke off"):
        search_spectra(cls="QSO")
    sdss.moods["sql"] = [(200, "#Table1\nNo objects have been found")]
    assert len(search_spectra(cls="QSO")) == 0


def test_null_values(sdss):
    header = ",".join(name for name, *_ in search_module.COLUMNS.values())
    row = f"{TALK},3586,55181,76,v5_13_0,57.1,-0.5,null,,QSO,null,null,null,BOSS,boss,1"
    sdss.moods["sql"] = [(200, f"#Table1\n{header}\n{row}\n")]
    table = search_spectra(cls="QSO")
    assert table["specobjid"].tolist() == [TALK]
    assert np.isnan(table["z_pipe"][0]) and np.isnan(table["z_pipe_err"][0])
    assert table["zwarning_pipe"].tolist() == [-1]


def test_server_that_does_not_answer(sdss):
    sdss.moods["sql"] = ["stall"] * 2
    with conf.set_temp("timeout", 0.3), conf.set_temp("retries", 1):
        with pytest.raises(SDSSError, match="cannot reach SkyServer at .*: timed out"):
            search_spectra(cls="QSO")
        assert len(search_spectra(cls="QSO", max_rows=2)) == 2


def test_no_network(nowhere):
    with pytest.raises(
        SDSSError, match=r"cannot reach SkyServer at http://127.0.0.1:9: no connection: .*refused"
    ):
        search_spectra(cls="QSO")


def test_settings_are_read_at_call_time(sdss):
    with conf.set_temp("data_release", 14):
        table = search_spectra(cls="QSO", max_rows=1)
    assert table.meta["data_release"] == 14
    with (
        conf.set_temp("skyserver_baseurl", "http://127.0.0.1:9"),
        conf.set_temp("retries", 0),
        pytest.raises(SDSSError, match=r"\(attempts: 1\)"),
    ):
        search_spectra(cls="QSO")


def test_rate_limit(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    skyserver._recent.clear()
    for _ in range(skyserver._MAX_QUERIES):
        skyserver._wait_for_turn()
    assert pauses == []
    skyserver._wait_for_turn()
    assert 50 < pauses[0] <= 60
    skyserver._recent.clear()
