"""Eigenspectra: the fit against plain least squares, and what a measurement makes of p(z)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.eigenspectra import (
    SHIFT,
    Eigenspectra,
    Transforms,
    chi2_of,
    read_eigenspectra,
    write_eigenspectra,
)
from specz_cnn.redshift.cells import NATIVE, _spline, at_redshift
from specz_cnn.redshift.measure import GRID, Measurement, packaged_measurement, systemic_from
from specz_cnn.redshift.posterior import Posterior
from specz_cnn.redshift.precision import calibrate_measurement

C = 299792.458
STEP = 4 * NATIVE
N_BINS = 2272
MODEL = {"alpha": 0.6, "temperature": 1.0, "floor": 20.0, "share": 0.05, "wing": 300.0}
LIMITS = {"p_peak": 0.01, "n_pixels": 100, "z_max": 5.0, "z_systemic": 1.05, "trough": 0.1, "outliers": 0.05}
LIMITS |= {"move": {"z": [1.0, 1.2], "value": [4000.0, 1500.0]}}
FRAMES = {"offset": {"z": [1.0, 3.0], "value": [0.0, 400.0]}, "scatter": 150.0}


def made_up_eigenspectra(n=4, seed=0, prior=1e-6):
    """Smooth random spectra with lines."""
    rng = np.random.default_rng(seed)
    start, n_samples = 26357.5, 6967
    x = np.arange(n_samples)
    rows = []
    for _ in range(n):
        lines = rng.uniform(0, n_samples, 60)[:, None]
        rows.append((rng.normal(size=(60, 1)) * np.exp(-0.5 * ((x - lines) / 12) ** 2)).sum(0))
    rows[0] = rows[0] + 3
    return Eigenspectra(torch.from_numpy(np.array(rows, np.float32)), start, torch.full((n,), prior))


EIGEN = made_up_eigenspectra()


def made_up_spectra(z, seed=1, snr=20.0):
    """Combinations of the eigenspectra on the grid, with noise."""
    rng = np.random.default_rng(seed)
    u = torch.log1p(torch.as_tensor(z, dtype=torch.float64))
    coefficients = np.concatenate([np.ones((len(z), 1)), rng.normal(0, 0.7, (len(z), 3))], 1)
    position = GRID.loglam[None] / 1e-4 - 1e4 * u.numpy()[:, None] / np.log(10)
    sample = (position - EIGEN.start) / 2
    rows = [[np.interp(s, np.arange(6967), row) for row in EIGEN.values.numpy()] for s in sample]
    flux = np.einsum("nk,nkp->np", coefficients, np.array(rows))
    sigma = np.abs(flux).mean() / snr
    flux = flux + sigma * rng.normal(size=flux.shape)
    return flux.astype(np.float32), np.full(flux.shape, sigma**-2, np.float32)


def network(z, sigma=300.0, second=None):
    """A posterior with a Gaussian peak, and perhaps another with a tenth of the probability."""
    z = np.asarray(z, dtype=float)
    u = (np.arange(N_BINS) + 0.5) * STEP
    p = np.exp(-0.5 * ((u - np.log1p(z)[:, None]) / (sigma / C)) ** 2)
    p /= p.sum(1, keepdims=True)
    one = np.ones(len(z))
    z_second, p_second = one * np.nan, one * np.nan
    if second is not None:
        q = np.exp(-0.5 * ((u - np.log1p(second)) / (sigma / C)) ** 2)
        p, z_second, p_second = 0.9 * p + 0.1 * q / q.sum(), one * second, 0.1 * one
    width = (1 + z) * sigma / C
    return Posterior(
        STEP, p, z, width, z - width, z + width, 5 * one, sigma * one, z_second, p_second, 5 * one
    )


def measurement(**changes):
    values = {"model": MODEL, "limits": LIMITS, "frames": FRAMES, "tag": "test"} | changes
    return Measurement(EIGEN, EIGEN, **values)


def design(u, eigenspectra=EIGEN):
    sample = (GRID.loglam / 1e-4 - 1e4 * u / np.log(10) - eigenspectra.start) / 2
    rows = [
        np.interp(sample, np.arange(eigenspectra.values.shape[1]), row) for row in eigenspectra.values.numpy()
    ]
    x = np.linspace(-1, 1, GRID.n_pixels)
    return np.array([*rows, np.ones_like(x), x, x**2])


def test_scan_is_least_squares():
    flux, ivar = made_up_spectra([1.3, 0.4])
    ivar[:, 300:420] = 0
    centre = torch.from_numpy(np.rint(np.log1p([1.3, 0.4]) / SHIFT).astype(np.int64))
    chi2 = EIGEN.scan(torch.from_numpy(flux), torch.from_numpy(ivar), centre - 5, 11, GRID).numpy()
    for row in range(2):
        for shift in range(11):
            vectors = design((int(centre[row]) - 5 + shift) * SHIFT)
            root = np.sqrt(ivar[row].astype(float))
            solution = np.linalg.lstsq((vectors * root).T, flux[row] * root, rcond=None)[0]
            expected = np.sum(((solution @ vectors - flux[row]) * root) ** 2)
            # Single precision: of a chi2 of nothing of half a million.
            assert chi2[row, shift] == pytest.approx(expected, abs=1.0, rel=1e-3)


def test_fit_is_least_squares_at_any_redshift():
    flux, ivar = made_up_spectra([2.1])
    u = np.log1p(2.1) + 0.3 * SHIFT
    model, coefficients = EIGEN.fit(
        torch.from_numpy(flux), torch.from_numpy(ivar), torch.tensor([u], dtype=torch.float64), GRID
    )
    vectors = design(u)
    root = np.sqrt(ivar[0].astype(float))
    solution = np.linalg.lstsq((vectors * root).T, flux[0] * root, rcond=None)[0]
    np.testing.assert_allclose(model[0].numpy(), solution @ vectors, rtol=1e-3, atol=2e-3)
    same = EIGEN.model(coefficients[0].numpy(), u, GRID.loglam, GRID)
    np.testing.assert_allclose(same, model[0].numpy(), rtol=1e-3, atol=2e-3)
    assert np.isnan(EIGEN.model(coefficients[0].numpy(), u, np.array([3.4, 4.2]), GRID)).all()


@pytest.mark.parametrize("n_shifts", [1, 45, 64])
def test_scan_is_the_same_through_fourier_transforms(n_shifts):
    # From beyond the red end of the eigenspectra to beyond the blue one.
    lowest = torch.tensor([-9000, -2500, -30, 0, 1, 2500, 4000, 5500, 12000])
    flux, ivar = made_up_spectra(np.linspace(0.5, 4, len(lowest)))
    flux, ivar = torch.as_tensor(flux), torch.as_tensor(ivar)
    transforms = Transforms.of(EIGEN.window(lowest, n_shifts, GRID))
    expected = chi2_of(flux, ivar, transforms, EIGEN.prior, n_shifts, 2)
    found = EIGEN.scan(flux, ivar, lowest, n_shifts, GRID)
    assert found.shape == (len(lowest), n_shifts)
    assert torch.allclose(found, expected, rtol=1e-4)


def test_eigenspectra_need_their_lattice():
    with pytest.raises(ValueError, match="lattice"):
        EIGEN.window(torch.tensor([0]), 2, ModelGrid(35441, 4, 100))


def test_files(tmp_path):
    write_eigenspectra(tmp_path / "e.npz", EIGEN, made_up_eigenspectra(6))
    measuring, describing = read_eigenspectra(tmp_path / "e.npz")
    assert torch.equal(measuring.values, EIGEN.values) and len(describing) == 6
    with pytest.raises(ValueError, match="same samples"):
        write_eigenspectra(tmp_path / "e.npz", EIGEN, replace(EIGEN, start=26359.5))


def test_the_fit_measures_what_the_network_has_found():
    z = np.array([0.3, 0.8, 1.3, 2.2, 3.1])
    flux, ivar = made_up_spectra(z)
    own = network(z + (1 + z) * np.array([300, -500, 200, 600, -300]) / C, second=4.4)
    found = measurement()(own, flux, ivar)
    assert found.by_fit.all()
    assert np.abs(C * (found.own.z - z) / (1 + z)).max() < 60
    assert (found.own.z_err < 0.5 * own.z_err).all()
    assert np.all((found.own.z_lo < found.own.z) & (found.own.z < found.own.z_hi))
    # The network's word on which peak it is stays.
    assert found.own.step == NATIVE and found.own.pdf.shape == (5, 4 * N_BINS)
    np.testing.assert_allclose(found.own.pdf.sum(1), 1)
    u = (np.arange(4 * N_BINS) + 0.5) * NATIVE
    near = np.abs(u - np.log1p(own.z_second)[:, None]) < 3500 / C
    np.testing.assert_allclose((found.own.pdf * near).sum(1), 0.1, atol=2e-3)
    peak = u[found.own.pdf.argmax(1)]
    np.testing.assert_allclose(peak, np.log1p(z), atol=100 / C)
    np.testing.assert_allclose(found.chi2, 1, atol=0.2)
    assert not found.outliers.any()


def test_batch_and_order_do_not_matter():
    z = np.linspace(0.2, 4.0, 21)
    flux, ivar = made_up_spectra(z, snr=5.0)
    own = network(z)
    all_at_once = measurement()(own, flux, ivar).own.z
    names = ("pdf", "z", "z_err", "z_lo", "z_hi", "score", "width", "z_second", "p_second", "p_qso_logit")
    for row in (0, 7, 20):
        alone = replace(own, **{name: getattr(own, name)[[row]] for name in names})
        one = measurement()(alone, flux[[row]], ivar[[row]]).own.z[0]
        assert abs(one - all_at_once[row]) < 0.1 / C


def test_where_the_network_stays():
    z = np.array([1.0, 1.0, 5.5, 2.6])
    flux, ivar = made_up_spectra(z)
    ivar[1, 60:] = 0
    rest = GRID.wavelength / 3.6
    flux[3, (rest > 1430) & (rest < 1510)] *= 0.1
    own = network(z + 0.001)
    found = measurement()(own, flux, ivar)
    assert found.by_fit.tolist() == [True, False, False, False]
    np.testing.assert_allclose(found.own.z[1:], own.z[1:], rtol=1e-12)
    np.testing.assert_allclose(found.own.z_err[1:], own.z_err[1:], rtol=1e-5)
    np.testing.assert_allclose(found.own.pdf.sum(1), 1)


def test_no_fit_moves_a_redshift_far_where_no_narrow_lines_are_seen():
    z = np.array([0.5, 2.5, 2.5])
    flux, ivar = made_up_spectra(z)
    # Wide peaks, so that the fit could go anywhere; in the systemic frame the mean offset is no move.
    own = network(z + (1 + z) * np.array([2300, 2300, 1000]) / C, sigma=1500.0)
    found = measurement()(own, flux, ivar)
    assert found.by_fit.tolist() == [True, False, True]
    assert np.abs(C * (found.own.z - z) / (1 + z))[[0, 2]].max() < 60
    assert found.own.z[1] == pytest.approx(own.z[1], rel=1e-12)
    frames = {"offset": 700.0, "scatter": 150.0}
    assert measurement(frames=frames)(own, flux, ivar, frame="systemic").by_fit.all()
    # A network that is unsure itself may be moved farther: its error adds in quadrature.
    wide = network(z + (1 + z) * np.array([2300, 2300, 1000]) / C, sigma=2500.0)
    assert measurement()(wide, flux, ivar).by_fit.all()
    sure = network(z + (1 + z) * np.array([1600, 1600, 1000]) / C, sigma=400.0)
    assert measurement()(sure, flux, ivar).by_fit.tolist() == [True, False, True]


def test_pixels_beyond_single_precision_are_left_to_the_network():
    z = np.array([1.0, 1.5])
    flux, ivar = made_up_spectra(z)
    flux[0, 300], ivar[0, 300] = 1e25, 1.0
    own = network(z + 0.001)
    found = measurement()(own, flux, ivar)
    assert found.by_fit.tolist() == [False, True]
    assert found.own.z[0] == pytest.approx(own.z[0], rel=1e-12) and np.isfinite(found.own.pdf).all()


def test_rows_without_an_answer():
    z = np.array([1.0, 1.5])
    flux, ivar = made_up_spectra(z)
    own = network(z)
    own.z[0] = np.nan
    own.pdf[0] = np.nan
    found = measurement()(own, flux, ivar)
    assert np.isnan(found.own.z[0]) and np.isnan(found.own.pdf[0]).all() and np.isnan(found.chi2[0])
    assert np.isfinite(found.own.z[1]) and np.isfinite(found.systemic["z_sys"][1])


def test_two_frames():
    z = np.array([3.0])
    flux, ivar = made_up_spectra(z)
    for frame, at in (("sdss", 0.0), ("systemic", 400.0)):
        own = network(z + (1 + z) * at / C)
        found = measurement()(own, flux, ivar, frame=frame)
        assert C * abs(found.own.z - z)[0] / 4 < 60
        assert C * (found.systemic["z_sys"] - z)[0] / 4 == pytest.approx(400, abs=60)
        assert C * found.systemic["z_sys_err"][0] / 4 > 100
    # Without a measurement only the frame changes.
    own = network(z)
    assert systemic_from(own)["z_sys"][0] == pytest.approx(3.0)
    moved = systemic_from(own, FRAMES)
    assert C * (moved["z_sys"][0] - 3) / 4 == pytest.approx(400, abs=1)
    assert C * moved["z_sys_err"][0] / 4 == pytest.approx(np.hypot(300, 150), rel=0.01)


def test_network_in_the_systemic_frame_stays_there_without_a_fit():
    own = network([5.5])
    flux, ivar = made_up_spectra([5.5])
    found = measurement(frames={"offset": 500.0, "scatter": 200.0})(own, flux, ivar, frame="systemic")
    assert C * (5.5 - found.own.z[0]) / 6.5 == pytest.approx(500, abs=2)
    assert C * found.own.z_err[0] / 6.5 == pytest.approx(np.hypot(300, 200), rel=0.01)
    assert found.systemic["z_sys"][0] == pytest.approx(5.5)
    u = (np.arange(4 * N_BINS) + 0.5) * NATIVE
    assert C * (np.log(6.5) - found.own.pdf[0] @ u) == pytest.approx(500, abs=20)


def test_where_no_label_says_where_the_frame_lies_errors_are_wide():
    z = np.array([1.0, 4.0])
    flux, ivar = made_up_spectra(z)
    frames = FRAMES | {"doubt": {"z": [2.0, 3.0], "value": [0.0, 500.0]}}
    sure, unsure = (measurement(frames=f)(network(z), flux, ivar).own for f in (FRAMES, frames))
    assert unsure.z_err[0] == sure.z_err[0]
    assert C * unsure.z_err[1] / 5 == pytest.approx(500, rel=0.15) and C * sure.z_err[1] / 5 < 200
    # p(z) says the same as the error.
    u = (np.arange(unsure.pdf.shape[1]) + 0.5) * NATIVE
    spread = np.sqrt(unsure.pdf[1] @ u**2 - (unsure.pdf[1] @ u) ** 2)
    assert C * spread == pytest.approx(500, rel=0.15)


def test_catalogues_do_not_see_the_forest():
    z = np.array([2.5])
    flux, ivar = made_up_spectra(z)
    blue = GRID.wavelength / 3.5 < 1200
    moved, _ = made_up_spectra(z + 3.5 * 800 / C)
    flux[0, blue] = moved[0, blue]
    found = {
        name: measurement()(network(z), flux, ivar, convention=name).own.z
        for name in ("pipeline", "catalogue")
    }
    assert C * abs(found["catalogue"] - z)[0] / 3.5 < 60
    assert C * (found["pipeline"] - found["catalogue"])[0] / 3.5 > 20


def test_model_at_native_pixels():
    flux, ivar = made_up_spectra([1.1], snr=100)
    loglam = 3.56 + 1e-4 * np.arange(4000)
    model = measurement().model_flux(flux[0], ivar[0], 1.1, loglam)
    on_grid = np.interp(loglam, GRID.loglam, flux[0])
    assert np.abs(model - on_grid).mean() < 0.03 * np.abs(flux).mean()


def test_cells_lie_on_the_spline_of_scipy():
    n_shifts, n_cells = _spline().shape
    places = (np.arange(n_cells) + 0.5) * (n_shifts - 1) / n_cells
    wanted = CubicSpline(np.arange(n_shifts), np.eye(n_shifts))(places)
    np.testing.assert_allclose(_spline().T, wanted, rtol=0, atol=1e-14)


def test_functions_of_redshift():
    np.testing.assert_allclose(
        at_redshift({"z": [1, 2], "value": [10, 20]}, np.array([0, 1.5, 9])), [10, 15, 20]
    )
    np.testing.assert_allclose(at_redshift(7, np.zeros(3)), 7)


def test_calibration_makes_intervals_hold_68_per_cent():
    rng = np.random.default_rng(5)
    z = rng.uniform(0.2, 3.5, 400)
    flux, ivar = made_up_spectra(z, snr=4.0)
    # Labels that scatter by 150 km/s about what the fit sees.
    label = z + (1 + z) * rng.normal(0, 150, 400) / C
    own = network(label + (1 + label) * rng.normal(0, 300, 400) / C)
    fitted = calibrate_measurement(measurement(), own, flux, ivar, label, np.ones(400))
    found = fitted(own, flux, ivar).own
    inside = ((found.z_lo < label) & (label < found.z_hi)).mean()
    assert 0.62 < inside < 0.75
    assert 90 < fitted.report["nmad"] < 200
    # Hardly any pixel is off, but less than a tenth is never called many.
    assert fitted.limits["outliers"] == 0.1


def test_outliers_are_what_neither_noise_nor_model_nor_forest_explains():
    flux, ivar = made_up_spectra(np.full(3, 2.5))
    u = np.log1p(np.full(3, 2.5))
    # Brighter than any model is good for; wrong in a tenth of the pixels redward of Lyman alpha; wrong blueward of it.
    ivar[0] *= 1e4
    red = GRID.wavelength > 1215.67 * 3.5
    flux[1, np.flatnonzero(red)[::10]] += 10
    flux[2, np.flatnonzero(~red)[::10]] += 10
    chi2, outliers, _ = measurement().judge(flux, ivar, u)
    assert (chi2 > 3).all()
    assert outliers[0] < 0.01 and 0.05 < outliers[1] < 0.15 and outliers[2] < 0.05


def test_packaged_measurement():
    packaged = packaged_measurement()
    assert packaged.tag and packaged is packaged_measurement()
    assert len(packaged.measuring) == 4
    # All of the range 0 < z < 7.1 is seen.
    assert packaged.measuring.start / 1e4 < np.log10(3545 / 8.1)
