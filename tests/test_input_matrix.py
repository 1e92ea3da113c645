"""Every kind of input with every other kind: each combination has one expected outcome.

The ingredients of a spectrum (axis, uncertainty, mask, flux) are tables below.  All pairs of ingredients are fitted,
those not in the pair being ordinary.  What is wrong with an ingredient decides the outcome; of two wrong ones, the worse.
"""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from itertools import combinations, product

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty, UnknownUncertainty, VarianceUncertainty
from astropy.utils.masked import Masked
from specutils import Spectrum, SpectrumCollection, SpectrumList

import specz_cnn
from specz_cnn import RedshiftFlag, fit_redshift_cnn, fit_redshifts_cnn, read_spec_lite, write_spec_lite
from specz_cnn.simulate.parametric import example_spectrum

Z = 2.4
ARRAYS = example_spectrum(Z, snr=20, seed=3)
FLUX = ARRAYS.flux.astype(np.float64)
SIGMA = ARRAYS.ivar.astype(np.float64) ** -0.5
WAVELENGTH = 10**ARRAYS.loglam * u.AA
N = FLUX.size
FLAM = u.Unit("1e-17 erg / (s cm2 AA)")

# Outcomes, from good to worse: what the table says in flags and error.
GOOD = (0, "")
NO_STRUCTURE = (RedshiftFlag.NODATA, "flux without any structure")
NO_PIXEL = (RedshiftFlag.NODATA, "no usable pixel in the wavelength range")
AT_REST = (
    RedshiftFlag.NODATA,
    "no usable pixel in the wavelength range; it covers 10",
)
NO_FLUX = (RedshiftFlag.BAD_INPUT, "a flux in K is no flux density")
IN_DOUBT = (
    RedshiftFlag.BAD_INPUT,
    "a flux in erg / (cm s) may be per wavelength or per wavenumber; convert it to one per wavelength",
)
NOT_POSITIVE = (RedshiftFlag.BAD_INPUT, "the spectral axis has values that are not finite or not positive")
NOT_ASCENDING = (RedshiftFlag.BAD_INPUT, "wavelengths must ascend or descend strictly")
VELOCITY = (RedshiftFlag.BAD_INPUT, "a spectral axis in km / s cannot be converted to wavelength")
PIXELS = (RedshiftFlag.BAD_INPUT, "a spectral axis in pix cannot be converted to wavelength")
MAGNITUDE = (RedshiftFlag.BAD_INPUT, "a flux in mag is logarithmic; convert it to a flux density")
COMPLEX = (RedshiftFlag.BAD_INPUT, "the flux is complex")
BY_SEVERITY = (
    GOOD, NO_STRUCTURE, AT_REST, NO_PIXEL, NOT_ASCENDING, NOT_POSITIVE, PIXELS, VELOCITY, NO_FLUX, IN_DOUBT, MAGNITUDE, COMPLEX,
)  # fmt: skip


def same(unit):
    return lambda: (WAVELENGTH.to(unit, u.spectral()), slice(None))


def air_wavelength():
    from specutils.utils.wcs_utils import vac_to_air

    return vac_to_air(WAVELENGTH), slice(None)


CUT = (WAVELENGTH.value < 6700) | (WAVELENGTH.value > 7300)

#: What makes the spectral axis, and the pixels that it has.
AXES = {
    "Angstrom": (same(u.AA), GOOD),
    "nm": (same(u.nm), GOOD),
    "Hz": (same(u.Hz), GOOD),
    "eV": (same(u.eV), GOOD),
    "wavenumber": (same(1 / u.cm), GOOD),
    "descending": (lambda: (WAVELENGTH[::-1], slice(None, None, -1)), GOOD),
    "air": (air_wavelength, GOOD),
    "every second pixel": (lambda: (WAVELENGTH[::2], slice(None, None, 2)), GOOD),
    "off the lattice": (lambda: (WAVELENGTH * 10**4e-5, slice(None)), GOOD),
    "pixels cut out": (lambda: (WAVELENGTH[CUT] * 10**4e-5, CUT), GOOD),
    "two thirds cut out": (lambda: (WAVELENGTH[np.arange(N) % 3 == 0], np.arange(N) % 3 == 0), GOOD),
    "one pixel": (lambda: (WAVELENGTH[2000:2001], slice(2000, 2001)), NO_STRUCTURE),
    "empty": (lambda: (WAVELENGTH[:0], slice(0, 0)), NO_PIXEL),
    "no overlap": (lambda: (10 * WAVELENGTH, slice(None)), NO_PIXEL),
    "rest frame": (lambda: (WAVELENGTH / (1 + Z), slice(None)), AT_REST),
    "repeated wavelength": (lambda: (WAVELENGTH[[0, *range(N - 1)]], slice(None)), NOT_ASCENDING),
    "negative wavelengths": (lambda: (np.arange(N) * u.AA - 99.5 * u.AA, slice(None)), NOT_POSITIVE),
    "pixels": (lambda: (np.arange(N) * u.pix, slice(None)), PIXELS),
    "km/s": (lambda: (np.arange(N) * u.km / u.s, slice(None)), VELOCITY),
}

UNCERTAINTIES = {
    "none": (lambda sigma: None, GOOD),
    "unknown": (lambda sigma: UnknownUncertainty(sigma), GOOD),
    "standard deviation": (lambda sigma: StdDevUncertainty(sigma), GOOD),
    "variance": (lambda sigma: VarianceUncertainty(sigma**2), GOOD),
    "inverse variance": (lambda sigma: InverseVariance(sigma**-2), GOOD),
    "some zero": (
        lambda sigma: InverseVariance(np.where((np.arange(sigma.size) + 1) % 5, sigma**-2, 0)),
        GOOD,
    ),
    "some negative": (
        lambda sigma: StdDevUncertainty(np.where((np.arange(sigma.size) + 1) % 5, sigma, -1)),
        GOOD,
    ),
    "some nan": (
        lambda sigma: VarianceUncertainty(np.where((np.arange(sigma.size) + 1) % 5, sigma**2, np.nan)),
        GOOD,
    ),
} | {
    f"{name} {kind.__name__}": (
        (lambda sigma, kind=kind, value=value: kind(np.full(sigma.size, value))),
        NO_PIXEL,
    )
    for name, value in {"zero": 0.0, "negative": -1.0, "nan": np.nan, "inf": np.inf}.items()
    for kind in (StdDevUncertainty, VarianceUncertainty, InverseVariance)
}

MASKS = {
    "none": (lambda n: None, GOOD),
    "nothing": (lambda n: np.zeros(n, bool), GOOD),
    "integers": (lambda n: (np.arange(n) % 7 == 3).astype(int), GOOD),
    "everything": (lambda n: np.ones(n, bool), NO_PIXEL),
}


def times(factor, unit=FLAM, dtype=np.float64):
    return lambda: ((FLUX * factor).astype(dtype) * unit, SIGMA * abs(factor))


def converted(unit, alike=u.one):
    """The flux in another unit, perhaps per something that all pixels have alike."""

    def make():
        factor = FLAM.to(unit, 1.0, u.spectral_density(WAVELENGTH))
        return FLUX * factor * unit / alike, SIGMA * factor

    return make


def per_energy():
    """F_E = F_lambda lambda^2 / hc, and the same in photons, which are energies apart."""
    factor = (WAVELENGTH.value / 5000) ** 2
    return FLUX * factor * u.erg / u.s / u.cm**2 / u.keV, SIGMA * factor


def photons_per_energy():
    factor = (WAVELENGTH.value / 5000) ** 3
    return FLUX * factor * u.photon / u.s / u.cm**2 / u.keV, SIGMA * factor


def filled(value, where=slice(None)):
    def make():
        flux = FLUX.copy()
        flux[where] = value
        return flux * FLAM, SIGMA

    return make


def masked_quantity():
    hidden = np.arange(N) % 9 == 0
    return Masked(np.where(hidden, np.nan, FLUX) * FLAM, mask=hidden), SIGMA


#: What makes the flux, with its unit, and the error in that unit.
FLUXES = {
    "SDSS": (times(1.0), GOOD),
    "erg": (times(1e-17, u.erg / u.s / u.cm**2 / u.AA), GOOD),
    "Jy": (converted(u.Jy), GOOD),
    "photons": (converted(u.photon / u.s / u.cm**2 / u.AA), GOOD),
    "per steradian": (times(1.0, FLAM / u.sr), GOOD),
    "per arcsec2": (times(1.0, FLAM / u.arcsec**2), GOOD),
    "per beam": (times(1.0, FLAM / u.beam), GOOD),
    "Jy per beam": (converted(u.Jy, u.beam), GOOD),
    "MJy per steradian": (converted(u.MJy, u.sr), GOOD),
    "per energy": (per_energy, GOOD),
    "nu F_nu": (converted(u.erg / u.s / u.cm**2), GOOD),
    "photons per energy": (photons_per_energy, GOOD),
    "kelvin": (times(1.0, u.K), NO_FLUX),
    "per wavelength or wavenumber": (times(1.0, u.erg / u.s / u.cm), IN_DOUBT),
    "dimensionless": (times(1.0, u.one), GOOD),
    "counts": (times(1.0, u.ct), GOOD),
    "single precision": (times(1.0, dtype=np.float32), GOOD),
    "big-endian": (times(1.0, dtype=">f4"), GOOD),
    "integer": (times(1000.0, dtype=np.int32), GOOD),
    "objects": (times(1.0, dtype=object), GOOD),
    "1e-40": (times(1e-40), GOOD),
    "1e40": (times(1e40), GOOD),
    "1e-40 in single precision": (times(1e-40, dtype=np.float32), GOOD),
    "masked Quantity": (masked_quantity, GOOD),
    "some nan": (filled(np.nan, slice(0, None, 11)), GOOD),
    "some inf": (filled(np.inf, slice(0, None, 11)), GOOD),
    "zero": (filled(0.0), NO_STRUCTURE),
    "constant": (filled(2.5), NO_STRUCTURE),
    "nan": (filled(np.nan), NO_PIXEL),
    "inf": (filled(-np.inf), NO_PIXEL),
    "magnitudes": (times(1.0, u.mag), MAGNITUDE),
    "complex": (times(1.0, dtype=complex), COMPLEX),
}

INGREDIENTS = {"axis": AXES, "uncertainty": UNCERTAINTIES, "mask": MASKS, "flux": FLUXES}
ORDINARY = {"axis": "Angstrom", "uncertainty": "standard deviation", "mask": "none", "flux": "SDSS"}


def all_pairs():
    """The combinations that hold every pair of ingredients, each once."""
    found = {}
    for first, second in combinations(INGREDIENTS, 2):
        for one, other in product(INGREDIENTS[first], INGREDIENTS[second]):
            chosen = {**ORDINARY, first: one, second: other}
            found[tuple(chosen.values())] = chosen
    return list(found.values())


def make_spectrum(*, axis="Angstrom", uncertainty="standard deviation", mask="none", flux="SDSS"):
    wavelength, pixels = AXES[axis][0]()
    values, sigma = FLUXES[flux][0]()
    values, sigma = values[pixels], sigma[pixels]
    return Spectrum(
        flux=values,
        spectral_axis=wavelength,
        uncertainty=UNCERTAINTIES[uncertainty][0](sigma),
        mask=MASKS[mask][0](sigma.size),
    )


def expected_outcome(chosen):
    return max((INGREDIENTS[kind][name][1] for kind, name in chosen.items()), key=BY_SEVERITY.index)


@pytest.fixture(scope="module")
def pairs():
    """All pairs of ingredients, and the table of their redshifts."""
    chosen = all_pairs()
    return chosen, fit_redshifts_cnn((make_spectrum(**each) for each in chosen), device="cpu")


@pytest.mark.slow
def test_all_pairs_of_ingredients(pairs):
    chosen, table = pairs
    assert len(table) == len(chosen) > 500
    # What the spectrum is before anything is done to it.
    plain = specz_cnn.fit_redshift_cnn(ARRAYS).z
    assert abs(plain - Z) < 0.01
    wrong = []
    for each, row in zip(chosen, table, strict=True):
        flag, error = expected_outcome(each)
        found = row["error"].startswith(error) if error else row["error"] == ""
        if error:
            found &= bool(row["flags"] & flag) and np.isnan(row["z"])
        else:
            found &= abs(row["z"] - plain) < 0.01
        if not found:
            wrong.append((each, row["z"], int(row["flags"]), row["error"]))
    assert not wrong


def test_ordinary_spectra_in_other_words_give_the_same_redshift(pairs):
    chosen, table = pairs
    z = {tuple(each.values()): row["z"] for each, row in zip(chosen, table, strict=True)}
    ordinary = z[tuple(ORDINARY.values())]
    same_thing = {
        "axis": ("nm", "Hz", "eV", "wavenumber", "descending"),
        "uncertainty": ("variance", "inverse variance"),
        "mask": ("nothing",),
        "flux": (
            "erg",
            "Jy",
            "photons",
            "per steradian",
            "per arcsec2",
            "per beam",
            "Jy per beam",
            "MJy per steradian",
            "per energy",
            "nu F_nu",
            "photons per energy",
            "single precision",
            "big-endian",
            "1e-40",
            "1e40",
        ),
    }
    for kind, names in same_thing.items():
        for name in names:
            difference = z[tuple({**ORDINARY, kind: name}.values())] - ordinary
            assert abs(difference) / (1 + Z) * 299792.458 < 1.0, name


WRONG_ALONE = [
    (kind, name, outcome[1])
    for kind, table in INGREDIENTS.items()
    for name, (_, outcome) in table.items()
    if outcome is not GOOD
]


@pytest.mark.parametrize(
    ("kind", "name", "error"), WRONG_ALONE, ids=lambda value: str(value).replace(" ", "-")
)
def test_one_wrong_spectrum_is_an_exception_that_says_why(kind, name, error):
    spectrum = make_spectrum(**{kind: name})
    with pytest.raises(ValueError, match=re.escape(error)):
        fit_redshift_cnn(spectrum, device="cpu")


def test_wavelengths_in_disorder_are_refused_by_specutils_itself():
    wavelength = WAVELENGTH.copy()
    wavelength[100] = wavelength[50]
    with pytest.raises(ValueError, match="strictly increasing or decreasing"):
        Spectrum(flux=FLUX * FLAM, spectral_axis=wavelength)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_numbers_near_the_limits_of_double_precision(factor):
    spectrum = Spectrum(
        flux=FLUX * factor * FLAM, spectral_axis=WAVELENGTH, uncertainty=StdDevUncertainty(SIGMA * factor)
    )
    assert abs(fit_redshift_cnn(spectrum, device="cpu").z - Z) < 0.01
    spectrum = Spectrum(flux=FLUX * factor * FLAM, spectral_axis=WAVELENGTH)
    assert abs(fit_redshift_cnn(spectrum, device="cpu").z - Z) < 0.01


def test_a_redshift_that_is_set_already_does_not_matter():
    """The axis of a Spectrum with a redshift is the observed one."""
    spectrum = Spectrum(flux=FLUX * FLAM, spectral_axis=WAVELENGTH, redshift=1.0)
    assert abs(fit_redshift_cnn(spectrum, device="cpu").z - Z) < 0.01


@pytest.mark.parametrize(
    "meta",
    [
        {"medium": "air"},
        {"header": {"VACUUM": False}},
        {"header": fits.Header({"VACUUM": "F"})},
        {"header": {"AIRORVAC": "air"}},
        {"header": {"CTYPE1": "AWAV"}},
        {},
    ],
    ids=str,
)
def test_wavelengths_in_air_are_converted_where_something_says_so(meta):
    from specutils.utils.wcs_utils import vac_to_air

    spectra = [
        Spectrum(flux=FLUX * FLAM, spectral_axis=axis, uncertainty=StdDevUncertainty(SIGMA), meta=meta)
        for axis in (vac_to_air(WAVELENGTH), WAVELENGTH)
    ]
    in_air = fit_redshift_cnn(spectra[0], device="cpu", air=None if meta else True)
    in_vacuum = fit_redshift_cnn(spectra[1], device="cpu", air=False)
    assert abs(in_air.z - in_vacuum.z) / (1 + Z) * 299792.458 < 1
    assert in_air.provenance["input"] == "wavelengths converted from air to vacuum"


def test_pixels_cut_out_count_as_masked_ones():
    wavelength = WAVELENGTH * 10**4e-5
    bad = (wavelength.value > 5000) & (wavelength.value < 8000)
    masked = Spectrum(
        flux=FLUX * FLAM, spectral_axis=wavelength, uncertainty=StdDevUncertainty(SIGMA), mask=bad
    )
    cut = Spectrum(
        flux=FLUX[~bad] * FLAM, spectral_axis=wavelength[~bad], uncertainty=StdDevUncertainty(SIGMA[~bad])
    )
    one, other = fit_redshifts_cnn([masked, cut], device="cpu")
    assert one["coverage"] == other["coverage"] < 0.6 and one["flags"] == other["flags"]
    assert abs(one["z"] - other["z"]) / (1 + Z) * 299792.458 < 1


@pytest.mark.parametrize("z", [0.15, 0.3, 0.45])
def test_a_quasar_shifted_to_rest_is_flagged(z):
    arrays = example_spectrum(z, snr=20, seed=1)
    spectrum = Spectrum(
        flux=arrays.flux * FLAM,
        spectral_axis=10**arrays.loglam * u.AA,
        uncertainty=InverseVariance(arrays.ivar),
        redshift=z,
    )
    assert RedshiftFlag.REST_FRAME not in fit_redshift_cnn(spectrum, device="cpu").flags
    spectrum.shift_spectrum_to(redshift=0)
    assert RedshiftFlag.REST_FRAME in fit_redshift_cnn(spectrum, device="cpu").flags


def test_masks_inside_the_flux():
    hidden = np.arange(N) % 9 == 0
    flux = np.where(hidden, 1e4, FLUX)
    spectra = [
        Spectrum(
            flux=flux * FLAM, spectral_axis=WAVELENGTH, uncertainty=StdDevUncertainty(SIGMA), mask=hidden
        ),
        Spectrum(
            flux=Masked(flux * FLAM, mask=hidden),
            spectral_axis=WAVELENGTH,
            uncertainty=StdDevUncertainty(SIGMA),
        ),
    ]
    z = fit_redshifts_cnn(spectra, device="cpu")["z"]
    assert np.abs(z - Z).max() < 0.01 and np.ptp(z) / (1 + Z) * 299792.458 < 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("fiber", 39627658006168293), ("zwarning", 2**63), ("plate", np.ma.masked), ("mjd", np.inf)],
)
def test_odd_numbers_in_meta_cost_nothing(name, value):
    odd = Spectrum(
        flux=FLUX * FLAM, spectral_axis=WAVELENGTH, meta={"plate": 7, "mjd": 55000, "fiber": 3, name: value}
    )
    good = Spectrum(flux=FLUX * FLAM, spectral_axis=WAVELENGTH, meta={"plate": 7, "mjd": 55000, "fiber": 3})
    table = fit_redshifts_cnn([good, odd, good], device="cpu")
    assert (np.abs(table["z"] - Z) < 0.01).all() and (table["error"] == "").all()


def test_tables_are_refused_by_name():
    from astropy.table import Table

    class DataFrame(dict):
        iloc = None

    for table in (Table({"file": ["a.fits"]}), DataFrame(file=["a.fits"])):
        with pytest.raises(TypeError, match="not a (Table|DataFrame)"):
            fit_redshifts_cnn(table)


@pytest.mark.parametrize("stream", [None, io.TextIOBase(), object()], ids=["none", "plain", "logger"])
def test_any_standard_error(monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", stream)
    assert len(fit_redshifts_cnn([make_spectrum()], device="cpu")) == 1


def test_collections_as_specutils_makes_them():
    spectra = [
        Spectrum(
            flux=FLUX * FLAM, spectral_axis=WAVELENGTH, uncertainty=StdDevUncertainty(SIGMA), meta={"id": i}
        )
        for i in "ab"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # specutils says that there are no masks
        collection = SpectrumCollection.from_spectra(spectra)
    table = fit_redshifts_cnn(collection, device="cpu")
    assert (np.abs(table["z"] - Z) < 0.01).all() and list(table["id"]) == ["a", "b"]


def changed(**changes):
    return dataclasses.replace(ARRAYS, **changes)


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        (changed(loglam=np.where(np.arange(N) == 5, np.nan, ARRAYS.loglam)), "wavelengths must be finite"),
        (
            changed(loglam=np.where(np.arange(N) == N - 1, np.inf, ARRAYS.loglam)),
            "wavelengths must be finite",
        ),
        (changed(loglam=10**ARRAYS.loglam), "their logarithms are to base 10"),
        (changed(loglam=ARRAYS.loglam[::-1]), "ascend strictly"),
        (changed(flux=FLUX[:-1]), "must be 1-D and alike"),
        (changed(flux=FLUX[None]), "must be 1-D and alike"),
        (changed(flux=FLUX.astype(complex)), "must be real numbers, not complex128"),
        (changed(ivar=FLUX.astype(complex)), "must be real numbers, not float32 and complex128"),
        (changed(flux=FLUX.astype(str)), "must be real numbers"),
        (changed(flux=FLUX.astype(object)), "must be real numbers"),
        (changed(ivar=-ARRAYS.ivar), "no usable pixel"),
        (changed(flux=np.full(N, np.nan, np.float32)), "no usable pixel"),
    ],
)
def test_plain_arrays_that_are_no_spectrum(arrays, error):
    with pytest.raises(ValueError, match=f"cannot measure example-spec.fits: .*{error}"):
        fit_redshift_cnn(arrays, device="cpu")
    table = fit_redshifts_cnn([arrays, ARRAYS], device="cpu")
    assert error in table["error"][0] and np.isnan(table["z"][0]) and table["flags"][0] != 0
    assert abs(table["z"][1] - Z) < 0.01


def spiked(pixel, value):
    flux = ARRAYS.flux.copy()
    flux[pixel] = value
    return changed(flux=flux)


ABSURD = {
    "one pixel of 1e30": spiked(2000, 1e30),
    "one pixel of 3e38": spiked(2000, 3e38),
    "one pixel of -1e20": spiked(2000, -1e20),
    "every third pixel of 3e38": spiked(slice(None, None, 3), 3e38),
    "flux up to 3e38": changed(flux=ARRAYS.flux * np.float32(1e37)),
    "flux in denormal numbers": changed(flux=ARRAYS.flux * np.float32(1e-42)),
    "one inverse variance of 1e38": changed(ivar=np.where(np.arange(N) == 2000, 1e38, ARRAYS.ivar)),
    "inverse variances of 3e38": changed(ivar=np.full(N, 3e38, np.float32)),
    "inverse variances of 1e-45": changed(ivar=np.full(N, 1e-45, np.float32)),
    "double precision out of range": changed(flux=FLUX * 1e300),
}


@pytest.fixture(scope="module")
def absurd():
    return dict(zip(ABSURD, fit_redshifts_cnn(list(ABSURD.values()), device="cpu"), strict=True))


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_numbers_give_a_flag_or_the_right_redshift(absurd, name):
    row = absurd[name]
    assert row["flags"] != 0 or abs(row["z"] - Z) < 0.01


# Containers: how one spectrum or many are handed over.


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The same spectrum as a file."""
    path = tmp_path_factory.mktemp("matrix") / "spec-7276-57061-0470.fits"
    write_spec_lite(path, ARRAYS.loglam, ARRAYS.flux, ARRAYS.ivar)
    return path


def collection():
    return SpectrumCollection(
        flux=np.stack([FLUX, FLUX[::1]]) * FLAM,
        spectral_axis=np.stack([WAVELENGTH.value] * 2) * u.AA,
        uncertainty=StdDevUncertainty(np.stack([SIGMA, SIGMA])),
    )


def n_dimensional(*shape):
    return Spectrum(
        flux=np.broadcast_to(FLUX, (*shape, N)) * FLAM,
        spectral_axis=WAVELENGTH,
        uncertainty=StdDevUncertainty(np.broadcast_to(SIGMA, (*shape, N)).copy()),
        mask=np.zeros((*shape, N), bool),
    )


CONTAINERS = {
    "Spectrum": (lambda path: make_spectrum(), 1),
    "list": (lambda path: [make_spectrum(), make_spectrum()], 2),
    "tuple": (lambda path: (make_spectrum(),), 1),
    "generator": (lambda path: (make_spectrum() for _ in range(3)), 3),
    "SpectrumList": (lambda path: SpectrumList([make_spectrum(), make_spectrum()]), 2),
    "SpectrumCollection": (lambda path: collection(), 2),
    "two dimensions": (lambda path: n_dimensional(3), 3),
    "three dimensions": (lambda path: n_dimensional(2, 2), 4),
    "path": (lambda path: path, 1),
    "path as text": (lambda path: str(path), 1),
    "paths": (lambda path: [path, str(path)], 2),
    "arrays": (lambda path: ARRAYS, 1),
    "everything": (lambda path: [path, make_spectrum(), n_dimensional(2), collection(), ARRAYS], 7),
    "list in a list": (lambda path: [[make_spectrum(), [make_spectrum()]], ARRAYS], 3),
    "nothing": (lambda path: [], 0),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_give_a_row_for_each_spectrum(path, name):
    make, n_rows = CONTAINERS[name]
    table = fit_redshifts_cnn(make(path), device="cpu")
    assert len(table) == n_rows
    assert (np.abs(table["z"] - Z) < 0.01).all() and (table["error"] == "").all()
    assert table.colnames[:7] == ["file", "plate", "mjd", "fiber", "id", "ra", "dec"]


@pytest.mark.parametrize("name", ["Spectrum", "path", "path as text", "arrays"])
def test_one_spectrum_gives_a_result(path, name):
    assert abs(fit_redshift_cnn(CONTAINERS[name][0](path), device="cpu").z - Z) < 0.01


@pytest.mark.parametrize("name", ["list", "SpectrumList", "SpectrumCollection", "two dimensions", "paths"])
def test_many_spectra_are_not_one(path, name):
    with pytest.raises(TypeError, match="takes one spectrum or path, not a .*; see fit_redshifts_cnn"):
        fit_redshift_cnn(CONTAINERS[name][0](path))


@pytest.mark.parametrize(
    "value", [None, 2.4, b"spec.fits", FLUX, {"flux": FLUX}], ids=lambda v: type(v).__name__
)
def test_other_things_are_no_spectrum(value):
    with pytest.raises(TypeError, match="takes one spectrum or path"):
        fit_redshift_cnn(value)


@pytest.mark.parametrize(
    "value", [None, 2.4, b"spec.fits", {"flux": FLUX}, io.StringIO("a")], ids=lambda v: type(v).__name__
)
def test_other_things_are_no_spectra(value):
    with pytest.raises(TypeError, match="takes spectra or paths, not a"):
        fit_redshifts_cnn(value)


def test_open_files_are_read_first(path):
    with fits.open(path) as hdulist, open(path, "rb") as file:
        for opened in (hdulist, file):
            with pytest.raises(TypeError, match="read_spec_lite makes a spectrum of an open file"):
                fit_redshift_cnn(opened)
            with pytest.raises(TypeError, match="read_spec_lite makes a spectrum of an open file"):
                fit_redshifts_cnn(opened)
        table = fit_redshifts_cnn(
            [read_spec_lite(file), read_spec_lite(hdulist), hdulist, file], device="cpu"
        )
    # In a list, the two become flagged rows; the good ones are not affected.
    assert (np.abs(table["z"][:2] - Z) < 0.01).all()
    assert (table["flags"][2:] == int(RedshiftFlag.BAD_INPUT)).all() and (table["error"][2:] != "").all()


def test_bad_items_among_good_ones_keep_their_rows(path, tmp_path):
    items = [
        make_spectrum(),
        None,
        [],
        np.ones(5),
        make_spectrum(flux="complex"),
        tmp_path / "none.fits",
        tmp_path,
        "",
        [path],
        path,
    ]
    table = fit_redshifts_cnn(items, batch_size=3, device="cpu")
    assert len(table) == len(items)
    bad, unread = int(RedshiftFlag.BAD_INPUT), int(RedshiftFlag.READ_ERROR)
    assert table["flags"][1:9].tolist() == [bad, bad, bad, bad, unread, unread, unread, bad]
    assert (table["error"][1:9] != "").all() and np.isnan(table["z"][1:9]).all()
    assert (np.abs(table["z"][[0, 9]] - Z) < 0.01).all()
    assert table["error"][2] == "a list without any spectrum in it"


def test_inputs_are_never_changed(path):
    spectrum = make_spectrum(flux="some nan")
    before = spectrum.flux.copy(), spectrum.spectral_axis.copy(), spectrum.uncertainty.array.copy()
    fit_redshift_cnn(spectrum, device="cpu")
    fit_redshifts_cnn([spectrum], device="cpu")
    for old, new in zip(
        before, (spectrum.flux, spectrum.spectral_axis, spectrum.uncertainty.array), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    assert spectrum.redshift == 0 and spectrum.mask is None
