from __future__ import annotations

import json
import re

import numpy as np
import pytest
from astropy.table import Table
from page_codec import decode_spectrum

from specz_cnn import SpectrumArrays
from specz_cnn.report import write_inspection_page


def spectrum(seed=0, n=400, **identity):
    rng = np.random.default_rng(seed)
    loglam = 1e-4 * (36000 + np.arange(n))
    return SpectrumArrays(loglam, rng.normal(1, 1, n).astype("f4"), np.ones(n, "f4"), **identity)


def results(n=3):
    table = Table()
    table["file"] = [f"/some/where/spec-{i:04d}.fits" for i in range(n)]
    table["z"] = np.linspace(0.5, 2.5, n)
    table["confidence"] = np.ma.masked_array(np.full(n, 0.9), mask=np.arange(n) == 1)
    table["flags"] = np.full(n, 1 << 24)
    return table


def parse(path):
    """Data and packed strings of a page."""
    text = path.read_text(encoding="utf-8")
    data = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )
    return data, re.search(
        r'<script type="application/octet-stream" id="blob">(.*?)</script>', text, re.DOTALL
    )[1]


def test_page_holds_table_and_spectra(tmp_path):
    spectra = [spectrum(0, plate=1, mjd=2, fiber=3, z_pipe=0.51, class_pipe="QSO"), None, spectrum(2)]
    assert write_inspection_page(tmp_path / "deep" / "page.html", results(), spectra) == 2
    data, blob = parse(tmp_path / "deep" / "page.html")
    assert data["columns"]["file"][0] == "spec-0000.fits"
    assert data["columns"]["plate"] == [1, -1, -1]
    assert data["columns"]["z_pipe"] == [0.51, None, None]
    assert data["columns"]["confidence"] == [0.9, None, 0.9]
    assert data["spectra"][1] is None
    place = data["spectra"][2]
    flux = decode_spectrum(place | {"data": blob[place["at"] : place["at"] + place["len"]]})[1]
    assert np.allclose(flux, spectra[2].flux, atol=0.07)


def test_page_refers_to_nothing_outside(tmp_path):
    write_inspection_page(tmp_path / "page.html", results(), [spectrum()] * 3)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    # Two links, which load nothing until somebody clicks on them.
    for link in ("https://skyserver.sdss.org/dr16", "https://www.legacysurvey.org/viewer"):
        assert text.count(link) == 1
        text = text.replace(link, "")
    assert "{{" not in text
    assert not re.search(r"(https?:)?//[a-z]+\.[a-z]+", text)
    assert "default-src 'none'" in text


def test_page_is_reproducible_and_replaced_whole(tmp_path):
    path = tmp_path / "page.html"
    write_inspection_page(path, results(), [spectrum()] * 3)
    first = path.read_bytes()
    write_inspection_page(path, results(), [spectrum()] * 3)
    assert path.read_bytes() == first
    with pytest.raises(ValueError, match="zip"):
        write_inspection_page(path, results(), [spectrum()] * 2)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_hostile_names_cannot_leave_their_place(tmp_path):
    table = results(1)
    table["file"] = ["</script><script>alert(1)</script>"]
    write_inspection_page(tmp_path / "page.html", table, [None], title="<b>&</b>")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<b>&</b>" not in text
    assert parse(tmp_path / "page.html")[0]["columns"]["file"] == ["script>"]


def test_probabilities(tmp_path):
    pdf = np.full(100, 0.01)
    write_inspection_page(tmp_path / "page.html", results(), [None] * 3, pdfs=[pdf, None, pdf], pdf_step=0.01)
    data, _ = parse(tmp_path / "page.html")
    assert data["pdf"]["step"] == 0.01
    assert data["pdf"]["first"] == 0.005
    assert data["pdf"]["rows"][1] is None


def test_another_table_gets_another_store(tmp_path):
    ids = []
    for z in (1.0, 1.1):
        table = results()
        table["z"] = z
        write_inspection_page(tmp_path / "page.html", table, [None] * 3)
        ids.append(parse(tmp_path / "page.html")[0]["id"])
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (Table({"file": ["a"]}), {}, "column 'z'"),
        (Table({"z": np.array([])}), {}, "at least one row"),
        (results(), {"pdfs": [None] * 3}, "pdf_step"),
    ],
)
def test_what_cannot_be_shown(tmp_path, table, options, message):
    with pytest.raises(ValueError, match=message):
        write_inspection_page(tmp_path / "page.html", table, [None] * len(table), **options)
