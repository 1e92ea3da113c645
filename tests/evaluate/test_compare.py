"""Several systems on the same spectra: joined, judged alike, and whether a difference is chance."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import binomtest

from specz_cnn.cli import main
from specz_cnn.evaluate import compare, read_labels, run_systems
from specz_cnn.io.tables import read_table
from specz_cnn.simulate.parametric import example_spectrum

N = 40
KMS = 1 / 299792.458


@pytest.fixture
def truth():
    """Labels of N quasars and four stars on one plate."""
    z = np.concatenate([np.linspace(0.5, 3.5, N), np.zeros(4)])
    cls = ["QSO"] * N + ["STAR"] * 4
    table = Table({"plate": [3586] * len(z), "mjd": [55181] * len(z), "fiber": np.arange(1, len(z) + 1)})
    table["z"], table["cls"], table["trust"], table["snr"] = z, cls, 3, 5.0
    table["z_qn"] = z + 500 * KMS * (1 + z)
    table["z_qn"][5:] = -1.0
    return table


def results(truth, dv, *, name="z", rows=None):
    """A table of results that are off by ``dv`` km/s."""
    table = truth["plate", "mjd", "fiber"].copy()
    table[name] = truth["z"] + dv * KMS * (1 + truth["z"])
    return table if rows is None else table[rows]


def test_figures_of_each_system_and_the_difference_of_two(truth):
    dv = np.zeros(len(truth))
    dv[:6] = 20_000.0  # six that only the second has right
    other = np.full(len(truth), 100.0)
    other[39] = 9_000.0  # and one that only the first has
    comparison = compare(read_labels(truth), {"a": results(truth, dv), "b": results(truth, other)})
    whole = {row["system"]: row for row in comparison.table[comparison.table["sample"] == "all"]}
    assert (whole["a"]["within_3000"], whole["b"]["within_3000"]) == (34 / N, 39 / N)
    assert whole["a"]["within_3000_lo"] < 34 / N < whole["a"]["within_3000_hi"]
    assert whole["b"]["within_12000"] == 1 and whole["b"]["bias"] == pytest.approx(100)
    pair = comparison.pairs[comparison.pairs["limit"] == 3000][0]
    assert (pair["first"], pair["second"], pair["n"], pair["better"], pair["worse"]) == ("a", "b", N, 1, 6)
    assert pair["difference"] == pytest.approx(-5 / N)
    assert pair["chance"] == pytest.approx(binomtest(1, 7).pvalue)
    assert (pair["nearer"], pair["farther"]) == (34, 6)
    assert "a" in comparison.report() and "-12.50 +-" in comparison.report()


def test_equal_systems_do_not_differ(truth):
    same = results(truth, np.full(len(truth), 50.0))
    pair = compare(read_labels(truth), {"a": same, "b": same}).pairs
    assert list(pair["chance"]) == [1.0] * 3 and list(pair["chance_nearer"]) == [1.0] * 3


def test_objects_count_once(truth):
    """Thirty-six spectra of one quasar are one object, in fractions and in pairs."""
    truth["group"] = np.arange(len(truth))
    truth["group"][4:N] = 4
    dv = np.zeros(len(truth))
    dv[4:N] = 20_000.0
    comparison = compare(read_labels(truth), {"a": results(truth, dv), "b": results(truth, 0 * dv)})
    row = comparison.table[0]
    assert row["within_3000"] == pytest.approx(4 / 5) and row["n_objects"] == pytest.approx(5)
    pair = comparison.pairs[1]
    assert (pair["n"], pair["better"], pair["worse"]) == (5, 0, 1)


def test_missing_redshifts_are_wrong_and_missing_rows_do_not_count(truth):
    some = results(truth, np.zeros(len(truth)))
    some["z"][:4] = np.nan
    few = results(truth, np.zeros(len(truth)), rows=slice(10, 20))
    comparison = compare(read_labels(truth), {"some": some, "few": few})
    whole = comparison.table[comparison.table["sample"] == "all"]
    assert list(whole["n_spectra"]) == [N, 10]
    assert list(whole["within_3000"]) == pytest.approx([36 / N, 1.0])
    assert comparison.pairs["n"][0] == 10


def test_columns_of_the_catalogue_are_systems(truth):
    labels = read_labels(truth)
    comparison = compare(labels, {"a": results(truth, np.zeros(len(truth)))}, columns=["z_qn"])
    row = comparison.table[comparison.table["system"] == "z_qn"][0]
    assert row["n_spectra"] == 5 and row["bias"] == pytest.approx(500)
    with pytest.raises(ValueError, match="no redshift column 'z_pca'"):
        compare(labels, {}, columns=["z_pca"])


def test_classes_of_systems_that_tell_them(truth):
    table = results(truth, np.zeros(len(truth)))
    table["p_qso"] = [0.9] * (N - 4) + [0.1] * 4 + [0.8] + [0.2] * 3
    row = compare(read_labels(truth), {"a": table, "b": results(truth, np.zeros(len(truth)))}).table
    row = {r["system"]: r for r in row[row["sample"] == "all"]}
    assert row["a"]["completeness"] == pytest.approx(36 / N)
    assert row["a"]["purity"] == pytest.approx(36 / 37)
    assert np.isnan(row["b"]["purity"])


def test_nothing_to_compare(truth):
    labels = read_labels(truth)
    with pytest.raises(ValueError, match="no system"):
        compare(labels, {})
    with pytest.raises(ValueError, match="no quasar"):
        compare(labels, {"a": results(truth, np.zeros(len(truth)), rows=slice(N, None))})


def test_models_are_run_alone(monkeypatch):
    spectra = [example_spectrum(z, snr=8, seed=i) for i, z in enumerate((1.7, 2.3, 2.9))]
    results = run_systems(spectra, ["rnet-e", "rnet-e+fit"])
    assert list(results) == ["rnet-e", "rnet-e+fit"]
    for table in results.values():
        np.testing.assert_allclose(table["z"], (1.7, 2.3, 2.9), atol=0.03)
        assert table.meta["rate"] > 0 and np.isnan(table["z_check"]).all()
    assert (results["rnet-e"]["z"] != results["rnet-e+fit"]["z"]).any()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_command_reads_tables_of_other_programs(truth, tmp_path, capsys, suffix):
    truth.write(tmp_path / "labels.csv")
    results(truth, np.full(len(truth), 300.0)).write(tmp_path / "ours.ecsv")
    results(truth, np.full(len(truth), -4000.0), name="Z_OTHER").write(tmp_path / "other.fits")
    out = tmp_path / "out"
    words = ["compare", "--labels", str(tmp_path / "labels.csv"), "--columns", "z_qn", "-o", str(out)]
    words += [
        "--figures",
        suffix,
        "--tables",
        f"ours={tmp_path}/ours.ecsv",
        f"other={tmp_path}/other.fits:z_other",
    ]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "ours" in text and "other" in text and "is the difference chance?" in text
    assert read_table(out / "table.ecsv")["system"][0] == "ours"
    assert len(read_table(out / "redshifts.ecsv")) == N and len(read_table(out / "pairs.ecsv")) == 9
    page = (out / "index.html").read_text()
    for name in ("compared", "velocities", "wiggles"):
        assert (out / f"{name}.{suffix}").stat().st_size > 5000 and f"{name}.{suffix}" in page
    assert (out / "summary.txt").read_text().strip() == text.strip()


def test_command_usage(truth, tmp_path, capsys):
    truth.write(tmp_path / "labels.csv")
    labels = ["--labels", str(tmp_path / "labels.csv")]
    for words, message in (
        (["compare", "--labels", "none.csv", "--columns", "z_qn"], "no such file or directory: none.csv"),
        (["compare", *labels], "nothing to compare"),
        (["compare", *labels, "--models", "rnet-e"], "--models needs spectra"),
        (["compare", *labels, "--tables", "none.csv"], "takes NAME=FILE"),
        (["compare", *labels, "--tables", "a=none.csv"], "no such file or directory: none.csv"),
        (["compare", *labels, "--tables", f"a={tmp_path}/labels.csv:zz"], "no column 'zz'"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err


def test_command_runs_models_on_files(data_dir, tmp_path, capsys):
    """Real files and their labels: every spectrum of the validation half that is there."""
    files = sorted((data_dir / "spectra").glob("spec-3655-*.fits"))[:6]
    words = ["compare", *map(str, files), "--labels", str(data_dir / "dev_labels.csv"), "--models", "rnet-e"]
    assert main([*words, "-o", str(tmp_path)]) == 0
    out = capsys.readouterr()
    assert "spectra with a label" in out.err and "rnet-e" in out.out
    assert set(read_table(tmp_path / "redshifts.ecsv")["file"]) <= {file.name for file in files}
