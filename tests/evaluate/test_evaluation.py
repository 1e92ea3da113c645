from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from numpy.testing import assert_allclose, assert_array_equal

from specz_cnn.evaluate import evaluate_results, match_results, read_labels, split_half


@pytest.fixture(scope="module")
def matched(survey):
    labels, results = survey
    return match_results(results, read_labels(labels))


@pytest.fixture(scope="module")
def evaluation(matched):
    return evaluate_results(matched)


def row(table, **values):
    """The only row of a table with these values."""
    chosen = np.ones(len(table), bool)
    for name, value in values.items():
        chosen &= table[name] == value
    (index,) = np.flatnonzero(chosen)
    return table[index]


def test_our_redshifts(evaluation):
    ours = row(evaluation.redshifts, estimator="z", sample="all")
    # 270 of 300 quasars are trusted; the first object has nine trusted spectra.
    assert ours["n_spectra"] == 270
    assert_allclose(ours["n_objects"], 262)
    assert ours["n_outliers"] == 3
    assert_allclose(ours["within_3000"], 259 / 262)
    assert_allclose(ours["answered"], 261 / 262)
    assert ours["nmad"].unit == u.km / u.s
    assert_allclose(ours["nmad"].to_value("km/s"), 200, rtol=0.15)
    unflagged = row(evaluation.redshifts, estimator="z", sample="unflagged")
    assert unflagged["n_spectra"] == 268 and unflagged["n_outliers"] == 1


def test_other_estimators(evaluation):
    pipeline = row(evaluation.redshifts, estimator="z_pipe", sample="all")
    assert_allclose(pipeline["nmad"].value, 400, rtol=0.15)
    assert_allclose(pipeline["bias"].value, 100, atol=80)
    assert row(evaluation.redshifts, estimator="z_check", sample="all")["identical"] == 1.0


def test_bins_add_up(evaluation):
    table = evaluation.redshifts
    for sample in ("redshift", "S/N"):
        part = table[(table["estimator"] == "z") & (table["sample"] == sample)]
        assert part["n_spectra"].sum() == 270
        assert part["n_outliers"].sum() == 3
        assert_allclose(part["n_objects"].sum(), 262)


def test_errors_are_judged(evaluation):
    calibration = row(evaluation.calibration, sample="unflagged")
    assert 0.85 < calibration["pull_nmad"] < 1.15
    assert calibration["coverage_68_lo"] - 0.03 < 0.68 < calibration["coverage_68_hi"] + 0.03
    assert calibration["pit_distance"] < 1.2 * calibration["pit_limit"]
    assert_allclose(calibration["confidence"], 0.995)
    assert_allclose(calibration["right"], 1 - 1 / calibration["n_objects"])


def test_classes_are_judged(evaluation):
    whole = row(evaluation.classification, sample="all")
    # The objects known at least as well as their class: all but one spectrum in ten would be too few stars.
    assert_allclose([whole["n_qso"], whole["n_other"]], [291, 100])
    assert whole["completeness"] == 1.0
    assert_allclose(whole["purity"], 291 / 292)
    assert row(evaluation.classification, sample="QSO, STAR")["purity"] == 1.0


def test_redshift_distribution(evaluation):
    table = evaluation.distribution
    assert_allclose(table["n_true"].sum(), 262)
    assert_allclose(table["n"].sum(), 261)
    assert_allclose(table["z_high"] - table["z_low"], 0.2)
    # The two wrong redshifts stand where there is nothing.
    assert_allclose(table["difference"][-2:], [1.0, 1.0])


def test_outliers_are_listed_most_confident_first(evaluation):
    table = evaluation.outliers
    assert_array_equal(table["fiber"], [31, 21, 41])
    assert_array_equal(table["second_right"], [True, False, False])
    assert_array_equal(table["flag_names"], ["", "LOW_CONFIDENCE", "NODATA"])


def test_halves_and_trust(matched):
    parts = [evaluate_results(matched, half=half) for half in ("calibration", "validation")]
    assert sum(len(part.quasars) for part in parts) == 270
    assert_array_equal(split_half(parts[1].quasars["group"]), "validation")
    assert len(evaluate_results(matched, min_trust=1).quasars) == 300
    with pytest.raises(ValueError, match="leaves no quasar"):
        evaluate_results(matched, min_trust=3)


def test_every_spectrum_can_count(matched):
    ours = row(evaluate_results(matched, each_spectrum=True).redshifts, estimator="z", sample="all")
    assert ours["n_objects"] == 270


def test_full_distributions_replace_the_interval(matched):
    x = (np.arange(1000) + 0.5) * 2e-3
    centre, width = np.log1p(np.asarray(matched["z_true"])), 0.003
    rng = np.random.default_rng(1)
    shifted = centre + width * rng.normal(size=len(matched))
    pdf = np.exp(-0.5 * ((x - shifted[:, None]) / width) ** 2)
    evaluation = evaluate_results(matched, pdf=pdf, z_grid=np.expm1(x))
    calibration = row(evaluation.calibration, sample="all")
    assert_allclose(calibration["coverage_95"], 0.95, atol=0.05)
    assert "Intervals from p(z)." in evaluation.report()


def test_a_catalogue_column_is_compared_on_its_own_rows(survey):
    labels, results = survey
    labels = labels.copy()
    labels["z_pipe"][::2] = -1
    evaluation = evaluate_results(match_results(results, read_labels(labels)))
    pipeline = row(evaluation.redshifts, estimator="z_pipe", sample="all")
    ours = row(evaluation.redshifts, estimator="z", sample="with z_pipe")
    assert pipeline["n_spectra"] == ours["n_spectra"] < 150
    assert pipeline["within_3000"] == 1.0


def test_only_redshifts(survey):
    """A table of nothing but redshifts is enough."""
    labels, results = survey
    evaluation = evaluate_results(match_results(results["plate", "mjd", "fiber", "z"], read_labels(labels)))
    assert len(evaluation.calibration) == 0 and len(evaluation.classification) == 0
    report = evaluation.report()
    assert "Classification" not in report and "By redshift" in report


def test_report(evaluation):
    report = evaluation.report()
    assert "270 quasar spectra of 262 objects, each of which counts once" in report
    assert "Unflagged: 1 of 268 spectra are outliers" in report
    assert "100 % of z_check is the reference itself." in report
    for part in (
        "By redshift",
        "By signal-to-noise",
        "Errors, intervals",
        "Classification",
        "N(z)",
        "LOW_CONFIDENCE",
    ):
        assert part in report
    assert "nan" not in report


def test_report_names_the_model(survey):
    labels, results = survey
    results = results.copy()
    results.meta |= {"MODEL": "rnet-e", "cross_check": "rnet-pz"}
    evaluation = evaluate_results(match_results(results, read_labels(labels)))
    assert "Redshifts of rnet-e, checked by rnet-pz" in evaluation.report()


def test_files_are_the_same_every_time(evaluation, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from specz_cnn.evaluate import figures

    first = evaluation.write(tmp_path / "a")
    names = [path.name for path in first]
    assert names[0] == "summary.txt" and "redshifts.ecsv" in names and "predicted_vs_true.png" in names
    assert len(names) == 17
    evaluation.write(tmp_path / "b", figures=False)
    monkeypatch.setattr(figures, "FIGURES", {"coverage": figures.FIGURES["coverage"]})
    figures.save_figures(evaluation, tmp_path / "b")
    again = sorted((tmp_path / "b").iterdir())
    assert len(again) == 9
    for path in again:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes(), path.name
    table = QTable.read(tmp_path / "a" / "redshifts.ecsv", format="ascii.ecsv")
    assert table["nmad"].unit == u.km / u.s


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_vector_figures_are_the_same_every_time(evaluation, tmp_path, monkeypatch, suffix):
    pytest.importorskip("matplotlib")
    from specz_cnn.evaluate import figures

    monkeypatch.setattr(figures, "FIGURES", {"pit": figures.FIGURES["pit"]})
    contents = []
    for _ in range(2):
        (path,) = figures.save_figures(evaluation, tmp_path, suffix=suffix)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    with pytest.raises(ValueError, match="figures are png, pdf or svg"):
        figures.save_figures(evaluation, tmp_path, suffix="gif")


def test_figures_of_little(survey, tmp_path):
    """Two quasars, no errors, no classes."""
    pytest.importorskip("matplotlib")
    labels, results = survey
    few = match_results(results["plate", "mjd", "fiber", "z"][40:42], read_labels(labels))
    paths = evaluate_results(few).write(tmp_path)
    assert "by_snr.png" not in {path.name for path in paths}
    assert "by_redshift.png" in {path.name for path in paths}


def test_many_points_are_all_drawn(survey, tmp_path):
    pytest.importorskip("matplotlib")
    from astropy.table import vstack

    from specz_cnn.evaluate.figures import plot_predicted

    labels, results = survey
    many = evaluate_results(match_results(vstack([results] * 20), read_labels(labels)))
    figure = plot_predicted(many)
    figure.savefig(tmp_path / "many.svg", dpi=50)
    upper, lower = figure.axes
    shown = sum(len(line.get_xdata()) for line in upper.lines if line.get_linestyle() == "None")
    assert shown == np.isfinite(many.quasars["z"]).sum() == 20 * 269
    # Thousands of dots are one image in the file, not as many shapes.
    dots = [axes.lines[1 if axes is upper else 0] for axes in (upper, lower)]
    assert all(line.get_rasterized() for line in dots)
    assert (tmp_path / "many.svg").stat().st_size < 500_000


def test_import_is_light():
    code = (
        "import sys, specz_cnn.evaluate as e; sys.exit('torch' in sys.modules or 'astroquery' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_confident_star_counts_against_the_confidence(matched, evaluation):
    """The confidence is judged on stars and galaxies, too, whose redshifts are no quasar's."""
    assert evaluation.reliability["right"][evaluation.reliability["low"] < 0.05][0] == 0
    sure = matched.copy()
    sure["confidence"][np.asarray(sure["cls"] == "STAR")] = 0.995
    before, after = (row(judged.reliability, low=0.99) for judged in (evaluation, evaluate_results(sure)))
    assert before["right"] > 0.99 and after["right"] < 0.9
