from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from specz_cnn import RedshiftFlag, SpectrumArrays

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from specz_cnn.results import plotting

STEP = 0.002


def spectrum(n=2000, **identity):
    rng = np.random.default_rng(0)
    loglam = 1e-4 * (35500 + 2 * np.arange(n))
    ivar = np.ones(n, "f4")
    ivar[500:520] = 0
    return SpectrumArrays(loglam, rng.normal(3, 1, n).astype("f4"), ivar, **identity)


def result(z=2.4, *, z_second=1.1, flags=0, arrays=None, **changes):
    """What pictures need of a result."""
    bins = STEP * (np.arange(1000) + 0.5)
    pdf = np.exp(-0.5 * ((bins - np.log1p(z)) / STEP) ** 2) if np.isfinite(z) else np.full(1000, np.nan)
    values = {
        "z": z,
        "z_err": 0.002,
        "z_interval": lambda level: [(z - 0.002, z + 0.002)],
        "pdf": pdf / pdf.sum(),
        "z_grid": np.expm1(bins),
        "confidence": 0.98,
        "p_qso": 0.99,
        "z_second": z_second,
        "p_second": 0.02,
        "z_check": z + 0.001,
        "snr": 3.0,
        "flags": flags,
        "spectrum": arrays
        if arrays is not None
        else spectrum(z_pipe=2.41, class_pipe="QSO", file="a/b/spec.fits"),
    }
    return SimpleNamespace(**(values | changes))


def draw(item, **options):
    figure = plotting.plot_result(item, figure=plotting.detached_figure(), **options)
    figure.draw_without_rendering()
    return figure


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_in_the_picture(dark):
    flags = RedshiftFlag.SMALL_DELTA | RedshiftFlag.LOW_CONFIDENCE
    figure = draw(result(flags=flags), dark=dark)
    title = figure.get_suptitle()
    assert "spec.fits" in title
    assert "z = 2.4000" in title
    assert "pipeline QSO z = 2.4100" in title
    assert "SMALL_DELTA: The runner-up" in title
    assert "LOW_CONFIDENCE" in title
    top, pdf, peak = figure.axes
    assert {"Ly\N{GREEK SMALL LETTER ALPHA}", "CIV", "MgII"} <= texts(figure)
    labels = figure.legends[0].get_texts()
    assert {"masked", "1$\\sigma$ error", "runner-up z = 1.1000", "lines at z = 2.4000"} <= {
        text.get_text() for text in labels
    }
    assert top.child_axes[0].get_xlabel().startswith("rest-frame")
    assert [text.get_text() for text in pdf.get_legend().get_texts()] == [
        "best",
        "runner-up (0.02)",
        "pipeline",
        "cross-check",
    ]
    assert {text.get_text() for text in peak.get_legend().get_texts()} == {"68%", "95%", "pipeline"}


def test_rest_frame_axis():
    top = draw(result()).axes[0]
    left, right = top.get_xlim()
    assert top.child_axes[0].get_xlim() == pytest.approx((left / 3.4, right / 3.4))


def test_what_can_be_left_out():
    figure = draw(result(), lines=False, second=False, smooth=0, wavelength_range=(5000, 6000))
    assert figure.axes[0].get_xlim() == (5000, 6000)
    assert not texts(figure)


@pytest.mark.parametrize(
    "item",
    [
        result(np.nan, z_second=np.nan, z_check=np.nan, flags=RedshiftFlag.NODATA, z_err=np.nan),
        result(arrays=SpectrumArrays(3.6 + 1e-4 * np.arange(100), np.zeros(100, "f4"), np.zeros(100, "f4"))),
        result(arrays=SpectrumArrays(np.array([3.6, 3.7]), np.array([1.0, np.nan]), np.array([1.0, np.inf]))),
        result(0.0, z_second=7.0, z_err=np.nan),
        result(confidence=np.nan, p_qso=np.nan, snr=np.nan),
    ],
    ids=["no redshift", "no data", "two pixels", "star", "unknown numbers"],
)
def test_odd_results_are_drawn(item):
    figure = draw(item)
    assert len(figure.axes) == 3
    title = figure.get_suptitle()
    assert ("no redshift" in title) == np.isnan(item.z)
    # Pixels that hold nothing are in no curve.
    known = np.isfinite(item.spectrum.flux) & (item.spectrum.ivar > 0)
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) == known.size]
    assert min(np.isfinite(np.ma.filled(line.get_ydata(), np.nan)).sum() for line in curves) == known.sum()


def test_dollar_signs_in_file_names_are_no_mathematics():
    figure = draw(result(arrays=spectrum(file="a$b_$c^.fits")))
    # Escaped, matplotlib draws the signs themselves; in pairs they would begin and end mathematics.
    assert r"a\$b_\$c^.fits" in figure.get_suptitle()


def test_name_without_a_file():
    assert "plate 1, MJD 2, fiber 3" in draw(result(arrays=spectrum(plate=1, mjd=2, fiber=3))).get_suptitle()


def test_spectrum_must_come_from_somewhere():
    item = result()
    item.spectrum = None
    with pytest.raises(ValueError, match="does not remember"):
        plotting.plot_result(item)
    draw_given = plotting.plot_result(item, spectrum(), figure=plotting.detached_figure())
    assert len(draw_given.axes) == 3


def test_settings_and_current_figure_of_the_user_stay():
    from matplotlib import pyplot as plt

    before = dict(matplotlib.rcParams)
    draw(result(), dark=True)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    figure = plotting.plot_result(result())
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_spectrum_alone_in_own_axes():
    figure = plotting.detached_figure()
    axes = figure.add_subplot()
    assert plotting.plot_spectrum(result(), axes=axes) is axes
    figure.draw_without_rendering()


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_files(tmp_path, suffix, magic):
    path = tmp_path / "new" / f"picture.{suffix}"
    contents = []
    for _ in range(2):
        plotting.save_figure(draw(result()), path, dpi=40)
        contents.append(path.read_bytes())
    assert contents[0].startswith(magic)
    assert contents[0] == contents[1]


def test_bytes_for_web_pages():
    assert plotting.figure_bytes(result(), dpi=30).startswith(b"\x89PNG")


def test_smoothing_is_weighted_and_keeps_gaps():
    flux = np.array([1.0, 1.0, 100.0, 1.0, 1.0, np.nan])
    ivar = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    assert np.allclose(plotting.smooth_flux(flux, ivar, 1.0), 1.0)
    unsmoothed = plotting.smooth_flux(flux, ivar, 0)
    assert np.isnan(unsmoothed[[2, 5]]).all()
    assert np.array_equal(unsmoothed[[0, 1, 3, 4]], flux[[0, 1, 3, 4]])
    with pytest.raises(ValueError, match="negative"):
        plotting.smooth_flux(flux, ivar, -1)


@pytest.fixture
def real_result():
    from specz_cnn import RedshiftResult

    item = result()
    names = ["z", "z_err", "confidence", "p_qso", "z_second", "p_second", "z_check", "snr", "pdf", "spectrum"]
    rest = {
        "z_lo": 2.398,
        "z_hi": 2.402,
        "coverage": 0.9,
        "flags": RedshiftFlag(0),
        "step": STEP,
        "provenance": {},
    }
    return RedshiftResult(**{name: getattr(item, name) for name in names}, **rest)


def test_notebooks_show_the_picture(real_result, monkeypatch):
    assert (
        '<img style="max-width: 100%" alt="spectrum and p(z)" src="data:image/png;base64,iVBOR'
        in real_result._repr_html_()
    )
    # None in sys.modules is how Python spells "cannot be imported".
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert real_result._repr_html_().endswith("</table>")


def test_plot_method(real_result):
    figure = real_result.plot(figure=plotting.detached_figure(), dark=True)
    assert len(figure.axes) == 3
