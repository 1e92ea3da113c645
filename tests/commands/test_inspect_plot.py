"""The commands `inspect` and `plot`."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn import write_spec_lite
from specz_cnn.cli import main
from specz_cnn.report import read_verdicts
from specz_cnn.report.finder import SpectrumFinder, read_rows
from specz_cnn.report.verdicts import VERDICT_COLUMNS

NAMES = ["spec-0001-50001-0001.fits", "spec-0001-50001-0002.fits", "spec-0002-50001-0001.fits"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Spectra in a tree as SDSS has it."""
    root = tmp_path_factory.mktemp("spectra")
    rng = np.random.default_rng(0)
    for name in NAMES:
        plate, mjd, fiber = map(int, name[5:-5].split("-"))
        loglam = 1e-4 * (35500 + np.arange(4500))
        flux = rng.normal(2, 1, 4500).astype("f4")
        (root / name[5:9]).mkdir(exist_ok=True)
        write_spec_lite(
            root / name[5:9] / name, loglam, flux, np.ones(4500), plate=plate, mjd=mjd, fiber=fiber
        )
    return root


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "z.ecsv"
    Table({"file": [f"/old/place/{name}" for name in NAMES], "z": [1.0, 2.0, 3.0]}).write(path)
    return path


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_inspect_finds_spectra_below_the_directory(table, directory, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["inspect", str(table), str(directory), "-o", str(page), "--model", "none"]) == 0
    data = page_data(page)
    assert data["title"] == "z"
    assert data["columns"]["fiber"] == [1, 2, 1]
    assert all(data["spectra"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3 of 3 spectra" in captured.err


def test_inspect_reports_missing_spectra(table, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["inspect", str(table), "-o", str(page), "--model", "none"]) == 1
    assert page_data(page)["spectra"] == [None] * 3
    assert "row 1: no file for /old/place" in capsys.readouterr().err


def test_inspect_without_its_network_goes_without_probabilities(table, directory, tmp_path, capsys):
    loaded = Table.read(table)
    loaded.meta["model"] = "no-such-network-7"
    loaded.write(table, overwrite=True)
    page = tmp_path / "page.html"
    assert main(["inspect", str(table), str(directory), "-o", str(page)]) == 0
    assert "without p(z)" in capsys.readouterr().err
    assert "pdf" not in page_data(page)
    assert main(["inspect", str(table), str(directory), "-o", str(page), "--model", "no-such-network-7"]) == 1


def test_inspect_shows_probabilities_of_a_network(table, directory, tmp_path):
    page = tmp_path / "page.html"
    assert main(["inspect", str(table), str(directory), "-o", str(page), "--model", "rnet-e"]) == 0
    assert all(page_data(page)["pdf"]["rows"])


def test_inspect_with_processes_makes_the_same_page(table, directory, tmp_path, capsys):
    (directory / "0002" / NAMES[2]).rename(tmp_path / "away")
    try:
        pages = [tmp_path / f"{n}.html" for n in (0, 2)]
        for n, page in zip((0, 2), pages, strict=True):
            words = ["inspect", str(table), str(directory), "-o", str(page), "--model", "rnet-e"]
            assert main([*words, "--workers", str(n)]) == 3
            assert "row 3: no file for" in capsys.readouterr().err
    finally:
        (tmp_path / "away").rename(directory / "0002" / NAMES[2])
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_files_by_sdss_name(directory):
    finder = SpectrumFinder(directory)
    assert finder.find(plate=2, mjd=50001, fiber=1) == directory / "0002" / NAMES[2]
    assert finder.find(plate=2, mjd=50001, fiber=9) is None
    assert SpectrumFinder().find(file=str(directory / "0001" / NAMES[0])).name == NAMES[0]
    with pytest.raises(NotADirectoryError):
        SpectrumFinder(directory / "nowhere")


def test_rows_with_bytes_and_masked_names(directory):
    table = Table(
        {
            "file": np.ma.array([NAMES[0].encode(), b""], mask=[False, True]),
            "plate": [-1, 2],
            "mjd": [-1, 50001],
        }
    )
    table["fiber"] = [-1, 1]
    rows = list(read_rows(table, SpectrumFinder(directory)))
    assert [spectrum.plate for spectrum, _ in rows] == [1, 2]


def write_verdicts_of(path, inspector, z):
    row = f"a.fits,1,50001,1,1.0,{z},3,3,accept,,{inspector},2026-01-01T00:00:00Z"
    path.write_text(",".join(VERDICT_COLUMNS) + "\n" + row + "\n")
    return str(path)


def test_merge(tmp_path, capsys):
    files = [
        write_verdicts_of(tmp_path / "ann.csv", "Ann", 1.0),
        write_verdicts_of(tmp_path / "bob.csv", "Bob", 1.5),
    ]
    merged = tmp_path / "merged.csv"
    assert main(["inspect", "--merge", *files, "-o", str(merged)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a.fits: z: Ann 1.0000, Bob 1.5000\n"
    assert "1 with disagreement" in captured.err
    assert read_verdicts(merged)["verdict"].tolist() == ["disagree"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "page.html"],
        ["z.ecsv", "--merge", "a.csv", "-o", "b.csv"],
        ["--merge", "a.csv", "-o", "a.csv"],
    ],
)
def test_inspect_usage(arguments, capsys):
    assert main(["inspect", *arguments]) == 2
    assert "error:" in capsys.readouterr().err


@pytest.fixture
def fake_fit(monkeypatch):
    """`fit_redshift_cnn` that needs no network."""
    import specz_cnn
    from specz_cnn import read_arrays

    def fit(path, *, model=None, device=None):
        bins = 0.01 * (np.arange(200) + 0.5)
        pdf = np.full(200, 1 / 200)
        from types import SimpleNamespace

        return SimpleNamespace(
            z=1.0,
            z_err=0.1,
            z_interval=lambda level: [(0.9, 1.1)],
            pdf=pdf,
            z_grid=np.expm1(bins),
            confidence=0.5,
            p_qso=0.5,
            z_second=np.nan,
            p_second=np.nan,
            flags=0,
            spectrum=read_arrays(path),
        )

    monkeypatch.setattr(specz_cnn, "fit_redshift_cnn", fit, raising=False)


def test_plot(directory, tmp_path, fake_fit, capsys):
    pytest.importorskip("matplotlib")
    files = [str(path) for path in sorted(directory.rglob("*.fits"))]
    assert main(["plot", *files, "-o", str(tmp_path / "figures"), "--dpi", "30"]) == 0
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        f"{name[:-5]}.png" for name in NAMES
    ]
    assert main(["plot", files[0], "-o", str(tmp_path / "one.svg"), "--dark", "--range", "4000", "5000"]) == 0
    assert (tmp_path / "one.svg").stat().st_size > 0
    (tmp_path / "none.fits").write_bytes(b"nothing")
    assert main(["plot", *files[:2], str(tmp_path / "none.fits"), "-o", str(tmp_path / "all.pdf")]) == 3
    assert (tmp_path / "all.pdf").read_bytes().count(b"/Type /Page ") == 2
    assert "none.fits" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["picture.jpg", "two.png"])
def test_plot_usage(output, tmp_path, capsys):
    assert main(["plot", "a.fits", "b.fits", "-o", str(tmp_path / output)]) == 2
    assert "error:" in capsys.readouterr().err


def test_equal_names_do_not_overwrite_each_other(tmp_path):
    from pathlib import Path

    from specz_cnn.commands.plot import _names

    names = _names([Path("a/spec.fits"), Path("b/spec.fits")], tmp_path, "png")
    assert [path.name for path in names.values()] == ["spec.png", "spec-2.png"]


def test_merge_of_nameless_files_loses_no_verdict(tmp_path, capsys):
    from specz_cnn.report import VERDICT_COLUMNS, read_verdicts

    for name, z_vi in (("ann", 2.4), ("bob", 3.4)):
        row = f"spec.fits,3655,55240,110,2.4,{z_vi},3,3,accept,,,2026-01-01T12:00:00Z"
        (tmp_path / f"{name}.csv").write_text(",".join(VERDICT_COLUMNS) + "\n" + row + "\n")
    files = [str(tmp_path / f"{name}.csv") for name in ("ann", "bob")]
    assert main(["inspect", "--merge", *files, "-o", str(tmp_path / "both.csv")]) == 0
    assert "z: ann 2.4000, bob 3.4000" in capsys.readouterr().out
    (row,) = read_verdicts(tmp_path / "both.csv")
    assert row["inspector"] == "ann;bob" and row["verdict"] == "disagree"
