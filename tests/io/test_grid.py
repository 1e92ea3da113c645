"""Rebinning: exact on the lattice, conserving, and the same by either way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from specz_cnn import ModelGrid
from specz_cnn.io.grid import _LATTICE_TOLERANCE, LATTICE_STEP, find_gaps, pixel_edges

GRIDS = [ModelGrid(), ModelGrid(35440, 1, 4848), ModelGrid(35500, 3, 400), ModelGrid(35441, 8, 600)]


@st.composite
def lattice_spectra(draw):
    """A spectrum on the SDSS lattice, with bad pixels: integer positions, flux, ivar."""
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    start = draw(st.integers(35000, 40500))
    n = draw(st.integers(1, 3000))
    flux = rng.normal(2, 3, n).astype(np.float32)
    ivar = rng.gamma(2, 1, n).astype(np.float32)
    ivar[rng.random(n) < draw(st.sampled_from([0, 0.1, 0.9]))] = 0
    return start + np.arange(n), flux, ivar


def slow_rebin(grid, index, flux, ivar):
    """The definition, pixel by pixel."""
    total, weighted = np.zeros(grid.n_pixels), np.zeros(grid.n_pixels)
    for i, f, w in zip(index, flux.astype(float), ivar.astype(float), strict=True):
        pixel = (i - grid.start) // grid.factor
        if 0 <= pixel < grid.n_pixels and w > 0:
            total[pixel] += w
            weighted[pixel] += w * f
    return np.divide(weighted, total, out=np.zeros_like(total), where=total > 0), total


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@given(spectrum=lattice_spectra())
def test_lattice_pixels_are_summed_exactly(grid, spectrum):
    index, flux, ivar = spectrum
    found = grid.rebin(index * LATTICE_STEP, flux, ivar)
    expected = slow_rebin(grid, index, flux, ivar)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32 and one.shape == (grid.n_pixels,)
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@given(spectrum=lattice_spectra())
def test_lattice_pixels_that_are_left_out_are_as_bad_ones(spectrum):
    index, flux, ivar = spectrum
    keep = ivar > 0
    assume(keep.any())
    found = GRIDS[0].rebin(index[keep] * LATTICE_STEP, flux[keep], ivar[keep])
    for one, other in zip(found, GRIDS[0].rebin(index * LATTICE_STEP, flux, ivar), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@given(spectrum=lattice_spectra())
def test_factor_one_changes_nothing(spectrum):
    index, flux, ivar = spectrum
    grid = ModelGrid(35000, 1, 8600)
    new_flux, new_ivar = grid.rebin(index * LATTICE_STEP, flux, ivar)
    rows = index - 35000
    np.testing.assert_array_equal(new_ivar[rows], ivar)
    np.testing.assert_array_equal(new_flux[rows][ivar > 0], flux[ivar > 0])
    assert new_ivar.sum(dtype=float) == ivar.sum(dtype=float)


@given(spectrum=lattice_spectra())
def test_single_precision_of_loglam_does_not_matter(spectrum):
    """SDSS stores loglam in single precision."""
    index, flux, ivar = spectrum
    grid = ModelGrid()
    exact = grid.rebin(index * LATTICE_STEP, flux, ivar)
    stored = grid.rebin((index * LATTICE_STEP).astype(np.float32), flux, ivar)
    for one, other in zip(exact, stored, strict=True):
        np.testing.assert_array_equal(one, other)


@given(spectrum=lattice_spectra(), grid=st.sampled_from(GRIDS))
def test_overlap_agrees_with_the_lattice(spectrum, grid):
    """The general way gives the same where both apply."""
    index, flux, ivar = spectrum
    if index.size < 2:
        return
    weight = ivar.astype(float)
    lattice = grid._sum_lattice(index, weight, weight * flux)
    overlap = grid._sum_overlap(index * LATTICE_STEP, weight, weight * flux)
    for one, other in zip(lattice, overlap, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(2, 4000),
    low=st.floats(3.3, 4.2),
    width=st.floats(0.001, 1.0),
)
def test_inverse_variance_is_conserved(seed, n, low, width):
    """What falls inside the grid arrives there, whatever the sampling."""
    rng = np.random.default_rng(seed)
    loglam = low + width * np.cumsum(rng.uniform(0.2, 1, n)) / n
    # Pixels that all lie on the lattice of SDSS, as two or three may by chance, are SDSS's, however far apart.
    position = loglam / LATTICE_STEP
    assume(np.abs(position - np.rint(position)).max() > _LATTICE_TOLERANCE)
    ivar = rng.gamma(2, 1, n)
    grid = ModelGrid()
    # A step may chance to be so much longer than those beside it that nothing was observed there: a gap, which stays empty.
    assume(not find_gaps(loglam, grid.factor * LATTICE_STEP)[0].size)
    found = grid.rebin(loglam, rng.normal(size=n), ivar)[1].sum(dtype=float)
    edges = pixel_edges(loglam)
    inside = np.diff(np.clip(edges, grid.edges[0], grid.edges[-1])) / np.diff(edges)
    np.testing.assert_allclose(found, (ivar * inside).sum(), rtol=1e-5, atol=1e-9)


@given(seed=st.integers(0, 2**31), value=st.floats(-1e6, 1e6, width=32), shift=st.floats(0, 1))
def test_constant_flux_stays_constant(seed, value, shift):
    rng = np.random.default_rng(seed)
    loglam = 3.56 + LATTICE_STEP * (np.arange(3000) * 1.37 + shift)
    flux, ivar = ModelGrid().rebin(loglam, np.full(3000, value), rng.gamma(2, 1, 3000))
    np.testing.assert_allclose(flux[ivar > 0], value, rtol=1e-6)


@given(spectrum=lattice_spectra(), scale=st.sampled_from([2.0**-40, 0.5, 8.0, 2.0**50]))
def test_units_of_flux_do_not_matter(spectrum, scale):
    index, flux, ivar = (np.asarray(x, np.float64) for x in spectrum)
    one = ModelGrid().rebin(index * LATTICE_STEP, flux, ivar)
    other = ModelGrid().rebin(index * LATTICE_STEP, scale * flux, ivar / scale**2)
    np.testing.assert_array_equal(other[0], np.float32(scale) * one[0])
    np.testing.assert_allclose(other[1], one[1] / scale**2, rtol=1e-6)


@given(spectrum=lattice_spectra(), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_bad_values_are_as_no_values(spectrum, bad):
    index, flux, ivar = spectrum
    hidden = np.arange(index.size) % 3 == 0
    expected = ModelGrid().rebin(index * LATTICE_STEP, flux, np.where(hidden, 0, ivar))
    for one, other in (
        (np.where(hidden, bad, flux), ivar),
        (flux, np.where(hidden, bad, ivar)),
        (flux, np.where(hidden, -1, ivar)),
    ):
        for found, wanted in zip(ModelGrid().rebin(index * LATTICE_STEP, one, other), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_pixels_and_edges():
    grid = ModelGrid()
    assert grid.wavelength[0] == pytest.approx(10 ** (LATTICE_STEP * 35441.5))
    np.testing.assert_allclose(0.5 * (grid.edges[1:] + grid.edges[:-1]), grid.loglam, rtol=1e-12)
    np.testing.assert_allclose(pixel_edges(grid.loglam), grid.edges, rtol=1e-12)
    assert grid.step == pytest.approx(np.log(10) * 4e-4)
    assert ModelGrid(**grid.to_dict()) == grid


def test_spectra_that_cannot_be_rebinned():
    grid, one = ModelGrid(), np.ones(3)
    lattice = LATTICE_STEP * np.array([36000, 36001, 36002])
    for loglam, flux, message in (
        (lattice, np.ones(2), "1-D and alike"),
        (lattice[None], one[None], "1-D and alike"),
        (lattice[[0, 0, 1]], one, "ascend strictly"),
        (lattice[[2, 1, 0]] + 4e-5, one, "ascend strictly"),
        (np.array([3.6, np.nan, 3.7]), one, "finite"),
        (np.array([3.6, 1e300, np.inf]), one, "finite"),
        (lattice, one * 1j, "real numbers"),
        (lattice, np.array(["a", "b", "c"]), "real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            grid.rebin(loglam, flux, np.ones(flux.shape))
    with pytest.raises(ValueError, match="at least two pixels"):
        grid.rebin([3.60004], [1.0], [1.0])
    for arguments in ({"factor": 0}, {"n_pixels": 0}):
        with pytest.raises(ValueError, match="positive"):
            ModelGrid(**arguments)


def test_sums_beyond_single_precision_are_bounded():
    loglam = LATTICE_STEP * np.arange(36000, 36008)
    flux, ivar = ModelGrid().rebin(loglam, np.full(8, 3e38, np.float32), np.full(8, 3e38, np.float32))
    assert np.isfinite(flux).all() and np.isfinite(ivar).all() and ivar.max() > 3e38
    assert not any(values.any() for values in ModelGrid().rebin([], [], []))


def off_lattice(step=0.8, start=3600.0, stop=9800.0):
    return np.log10(np.arange(start, stop, step))


def covered(loglam, keep):
    grid = ModelGrid()
    _, ivar = grid.rebin(loglam[keep], np.ones(keep.sum()), np.ones(keep.sum()))
    return ivar


@pytest.mark.parametrize(
    ("low", "high"), [(5000, 8000), (4200, 9000), (6860, 6940), (3601.5, 5000), (5000, 9797)]
)
def test_pixels_cut_out_are_a_gap_as_masked_ones_are(low, high):
    loglam = off_lattice()
    wavelength = 10**loglam
    keep = (wavelength < low) | (wavelength > high)
    cut = covered(loglam, keep)
    _, masked = ModelGrid().rebin(loglam, np.ones(loglam.size), keep.astype(float))
    np.testing.assert_array_equal(cut > 0, masked > 0)
    np.testing.assert_allclose(cut, masked, rtol=1e-3, atol=1e-3)
    assert cut.sum() == pytest.approx(masked.sum())


def test_two_arms_of_different_sampling_and_a_gap_between():
    blue, red = np.arange(3600, 5500, 0.6), np.arange(6500, 9800, 2.0)
    loglam = np.log10(np.concatenate([blue, red]))
    ivar = covered(loglam, np.ones(loglam.size, bool))
    wavelength = ModelGrid().wavelength
    expected = (wavelength > 3600) & (wavelength < 5500) | (wavelength > 6500) & (wavelength < 9800)
    assert ((ivar > 0) != expected).sum() <= 4  # grid pixels that are covered in part


@pytest.mark.parametrize(
    "loglam",
    [
        np.log10(np.arange(3500, 10800, 20.0)),  # a grism: every step is wide
        np.log10(
            np.concatenate([np.arange(3500, 5500, 0.5), np.arange(5500, 10800, 12.0)])
        ),  # no gap between
        np.sort(np.concatenate([off_lattice(9.0), off_lattice(9.0, 3601.0)])),  # interleaved orders
        np.log10(np.cumsum(np.linspace(0.2, 30, 500)) + 3500),  # steps that grow
    ],
    ids=["coarse", "two samplings", "interleaved", "growing"],
)
def test_wide_steps_that_are_no_gaps(loglam):
    ivar = covered(loglam, np.ones(loglam.size, bool))
    wavelength = np.log10(ModelGrid().wavelength)
    inside = (wavelength > loglam[0]) & (wavelength < loglam[-1])
    assert (ivar[inside] > 0).all()


def test_islands_of_a_few_pixels():
    loglam = off_lattice()
    keep = np.arange(loglam.size) % 60 < 4
    ivar = covered(loglam, keep)
    share = (ivar > 0)[20:1000].mean()
    assert 0.1 < share < 0.5 and ivar.sum() == pytest.approx(keep[10**loglam > 3545].sum(), rel=0.02)
