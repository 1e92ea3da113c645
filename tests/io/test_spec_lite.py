"""The specutils loader."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from specutils import Spectrum, SpectrumList
from specutils.io.registers import identify_spectrum_format

from specz_cnn import read_arrays, read_spec_lite
from specz_cnn.io import MASK_POLICIES, SpecLiteError, prefer_spec_lite_loader
from specz_cnn.io.spec_lite import _flux_unit

FLUX_UNIT = u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))
BUILT_IN = "SDSS-III/IV spec"
OURS = "SDSS spec-lite"


@pytest.fixture
def preferred():
    prefer_spec_lite_loader()
    yield
    prefer_spec_lite_loader(False)


def change_header(path, **cards):
    with fits.open(path, mode="update") as hdulist:
        for keyword, value in cards.items():
            if value is None:
                del hdulist[0].header[keyword]
            else:
                hdulist[0].header[keyword] = value


def test_spectrum_of_a_file(spec_file, columns):
    spectrum = read_spec_lite(spec_file)
    assert type(spectrum) is Spectrum
    assert spectrum.flux.unit == FLUX_UNIT
    assert spectrum.flux.dtype.isnative and spectrum.uncertainty.array.dtype.isnative
    assert spectrum.spectral_axis.unit == u.AA and spectrum.spectral_axis.dtype == np.float64
    np.testing.assert_array_equal(spectrum.flux.value, columns["flux"].astype(np.float32))
    np.testing.assert_allclose(np.log10(spectrum.spectral_axis.value), columns["loglam"], atol=3e-7)
    assert isinstance(spectrum.uncertainty, InverseVariance)
    assert spectrum.uncertainty.unit == FLUX_UNIT**-2
    np.testing.assert_array_equal(spectrum.uncertainty.array, columns["ivar"].astype(np.float32))
    assert spectrum.redshift == 0  # specutils for "unset": the pipeline's redshift is only in meta


def test_meta_of_a_file(spec_file, columns):
    meta = read_spec_lite(spec_file).meta
    expected = {
        "plate": 7276,
        "mjd": 57061,
        "fiber": 470,
        "run2d": "v5_13_0",
        "specobjid": 1 << 63 | 12345 << 10,
        "ra": 150.25,
        "dec": -1.5,
        "class": "QSO",
        "subclass": "BROADLINE",
        "z": 2.25,
        "zwarning": 4,
        "file": str(spec_file),
    }
    assert {name: meta[name] for name in expected} == expected
    assert meta["z_err"] == pytest.approx(0.0004)
    assert meta["sn_median"] > 0
    assert meta["header"]["PLATEID"] == 7276
    for name in ("and_mask", "or_mask", "wdisp", "sky", "model"):
        assert meta[name].dtype.isnative
        np.testing.assert_array_equal(meta[name], columns[name].astype(meta[name].dtype))


@pytest.mark.parametrize("mask", [*MASK_POLICIES, 1 << 23])
def test_mask_and_weights_of_both_readers_agree(spec_file, mask):
    spectrum, arrays = read_spec_lite(spec_file, mask=mask), read_arrays(spec_file, mask=mask)
    np.testing.assert_array_equal(spectrum.mask, arrays.ivar == 0)
    np.testing.assert_array_equal(spectrum.flux.value, arrays.flux)
    np.testing.assert_array_equal(spectrum.spectral_axis.value, 10**arrays.loglam)


def test_every_real_file_is_read(spectrum_paths):
    for path in spectrum_paths[::10] + [path for path in spectrum_paths if "-5400-" in path.name]:
        spectrum, arrays = read_spec_lite(path), read_arrays(path)
        np.testing.assert_array_equal(spectrum.flux.value, arrays.flux)
        np.testing.assert_array_equal(spectrum.mask, arrays.ivar == 0)
        meta = spectrum.meta
        assert (meta["plate"], meta["fiber"], meta["z"]) == (arrays.plate, arrays.fiber, arrays.z_pipe)
        # The identifier packs the names; legacy files hold it as text, the others as a signed or scaled integer.
        assert meta["specobjid"] >> 50 == meta["plate"]
        assert meta["specobjid"] >> 38 & 0xFFF == meta["fiber"]
        assert {"run2d", "class", "subclass", "zwarning", "sn_median", "wdisp", "sky", "model"} <= set(meta)


def test_files_of_one_object_agree_with_the_built_in_loader(spectrum_paths):
    path = next(path for path in spectrum_paths if path.name == "spec-0266-51602-0013.fits")
    with pytest.warns(u.UnitsWarning, match="multiple slashes"):
        theirs = Spectrum.read(path, format=BUILT_IN)
    ours = Spectrum.read(path, format=OURS)
    np.testing.assert_array_equal(ours.flux.value, theirs.flux.value)
    assert ours.flux.unit == theirs.flux.unit
    np.testing.assert_allclose(ours.spectral_axis.value, theirs.spectral_axis.value, rtol=1e-6)


@pytest.mark.parametrize("kind", ["path", "text", "file", "hdulist"])
def test_sources(spec_file, kind):
    reference = read_spec_lite(spec_file)
    if kind == "path":
        spectrum = Spectrum.read(spec_file, format=OURS)
    elif kind == "text":
        spectrum = Spectrum.read(str(spec_file), format=OURS)
    elif kind == "file":
        with open(spec_file, "rb") as file:
            spectrum = Spectrum.read(file, format=OURS)
            assert not file.closed
    else:
        with fits.open(spec_file) as hdulist:
            spectrum = Spectrum.read(hdulist, format=OURS)
            assert hdulist[1].data is not None
    np.testing.assert_array_equal(spectrum.flux.value, reference.flux.value)
    assert spectrum.meta["file"] == str(spec_file)


def test_spectrum_list(spec_file):
    (spectrum,) = SpectrumList.read(spec_file, format=OURS)
    assert spectrum.meta["plate"] == 7276


@pytest.mark.parametrize("cls", [Spectrum, SpectrumList])
@pytest.mark.parametrize(
    "cards", [{}, {"RUN2D": "26"}, {"TELESCOP": None, "VERS2D": None}, {"TELESCOP": "NTT"}]
)
def test_no_built_in_identification_becomes_ambiguous(spec_file, cls, cards):
    change_header(spec_file, **cards)
    assert isinstance(identify_spectrum_format(spec_file, cls), str)


def test_claims_only_what_no_other_loader_does(spec_file):
    assert identify_spectrum_format(spec_file) == BUILT_IN
    change_header(spec_file, VERS2D=None)
    assert identify_spectrum_format(spec_file) == OURS
    assert Spectrum.read(spec_file).meta["z"] == 2.25
    change_header(spec_file, TELESCOP=None)
    assert identify_spectrum_format(spec_file) == "tabular-fits"


def test_real_files_keep_their_identification(spectrum_paths):
    for path in spectrum_paths[::40]:
        assert identify_spectrum_format(path) in (BUILT_IN, "tabular-fits")


def test_other_tables_are_not_claimed(tmp_path, preferred):
    path = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=[1.0])]).writeto(path)
    assert identify_spectrum_format(path) == "tabular-fits"
    path.write_text("no table at all")
    assert identify_spectrum_format(path) == []


@pytest.mark.parametrize("cards", [{}, {"VERS2D": None}, {"TELESCOP": None, "VERS2D": None}])
def test_preferred_loader_is_the_only_one(spec_file, preferred, cards):
    change_header(spec_file, **cards)
    assert identify_spectrum_format(spec_file) == OURS
    assert Spectrum.read(spec_file).meta["z"] == 2.25
    with open(spec_file, "rb") as file:
        assert Spectrum.read(file).meta["z"] == 2.25
    assert SpectrumList.read(spec_file)[0].meta["z"] == 2.25
    prefer_spec_lite_loader(False)
    assert identify_spectrum_format(spec_file) != OURS or cards == {"VERS2D": None}


def test_wrong_files(tmp_path, spec_file):
    with pytest.raises(FileNotFoundError):
        read_spec_lite(tmp_path / "none.fits")
    with pytest.raises(ValueError, match="mask must be"):
        read_spec_lite(spec_file, mask="soft")
    wrong = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(wrong)
    with pytest.raises(SpecLiteError, match=r"image\.fits: no table with columns flux, loglam and ivar"):
        read_spec_lite(wrong)


def test_what_the_file_does_not_know_is_left_out(spec_file):
    with fits.open(spec_file, mode="update") as hdulist:
        del hdulist[2]
        for keyword in ("PLATEID", "PLUG_RA", "RUN2D"):
            del hdulist[0].header[keyword]
    meta = read_spec_lite(spec_file.rename(spec_file.with_name("one.fits"))).meta
    assert not {"z", "class", "specobjid", "plate", "ra", "run2d", "sn_median"} & set(meta)
    assert (meta["mjd"], meta["dec"]) == (57061, -1.5)


@pytest.mark.parametrize(
    ("bunit", "power"),
    [
        ("1E-17 erg/cm^2/s/Ang", -17),
        ("1e-16 erg/s/cm2/A", -16),
        ("1.0E-17 erg/(s cm2 Angstrom)", -17),
        ("10^-17 erg/s/cm^2/Ang", -17),
        ("10**(-16) erg/s/cm^2/Ang", -16),
        ("", -17),
        ("erg/s", -17),
    ],
)
def test_flux_unit(bunit, power):
    assert _flux_unit(bunit).to(FLUX_UNIT) == pytest.approx(10.0 ** (power + 17))
