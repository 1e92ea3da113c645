"""Units of flux and wavelength, and air: the right power of the wavelength, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from specz_cnn.io.units import air_to_vacuum, parse_axis_unit, parse_flux_unit, wavelength_power

FLAM = u.Unit("erg / (s cm2 AA)")
FNU = u.Jy
PHLAM = u.photon / u.s / u.cm**2 / u.AA


@pytest.mark.parametrize(
    ("unit", "power"),
    [
        (FLAM, 0),
        (u.Unit("1e-17 erg / (s cm2 AA)"), 0),
        (u.W / u.m**2 / u.um, 0),
        (u.erg / u.s / u.cm**3, 0),
        (FLAM / u.sr, 0),
        (FLAM / u.arcsec**2, 0),
        (FLAM / u.beam, 0),
        (FLAM / u.pix, 0),
        (u.erg / u.s / u.AA, 0),
        (u.L_sun / u.AA, 0),
        (u.Jy, -2),
        (u.mJy / u.beam, -2),
        (u.MJy / u.sr, -2),
        (u.uJy / u.arcsec**2, -2),
        (u.erg / u.s / u.cm**2 / u.Hz, -2),
        (u.W / u.m**2 / u.Hz, -2),
        (u.W / u.Hz, -2),
        (u.erg / u.s / u.cm**2 / u.eV, -2),
        (u.W / u.m**2, -1),
        (u.erg / u.s / u.cm**2, -1),
        (u.Jy * u.Hz, -1),
        (u.L_sun, -1),
        (PHLAM, -1),
        (u.photon / u.s / u.cm**2 / u.Hz, -3),
        (u.photon / u.s / u.cm**2 / u.keV, -3),
        (u.ct, 0),
        (u.ct / u.s, 0),
        (u.ct / u.AA, 0),
        (u.electron / u.s / u.pix, 0),
        (u.adu, 0),
        (u.one, 0),
        (u.percent, 0),
        (u.erg / u.s / u.cm**2 / u.A, 0),  # A was meant as Angstrom
    ],
    ids=str,
)
def test_power_of_the_wavelength(unit, power):
    assert wavelength_power(unit) == power


@pytest.mark.parametrize("unit", [FLAM, FNU, PHLAM, u.erg / u.s / u.cm**2, u.erg / u.s / u.cm**2 / u.Hz])
def test_powers_agree_with_astropy(unit):
    wavelength = np.array([4000.0, 5000.0, 8000.0]) * u.AA
    ours = wavelength.value ** wavelength_power(unit)
    theirs = (np.ones(3) * unit).to_value(FLAM, u.spectral_density(wavelength))
    np.testing.assert_allclose(ours / ours[1], theirs / theirs[1])


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (u.mag, "logarithmic"),
        (u.ABmag, "logarithmic"),
        (u.dex(FLAM), "logarithmic"),
        (u.dB, "logarithmic"),
        (u.K, "no flux density"),
        (u.AA, "no flux density"),
        (u.m / u.s, "no flux density"),
        (u.erg, "no flux density|flux"),
        (u.erg / u.s / u.cm, "per wavelength or per wavenumber"),
        (u.photon, "flux"),
        (u.photon / u.s / u.cm**2, "no flux density"),
        (u.ct / u.keV, "no flux density"),
        (u.AA**-1, "no flux density|wavenumber"),
        (u.kg, "no flux density"),
    ],
    ids=str,
)
def test_what_is_no_flux_or_in_doubt_is_refused(unit, message):
    if unit in (u.erg, u.photon):
        # Energy and photons without anything that they are per could be luminosities per frequency.
        assert wavelength_power(unit) in (-2, -3)
        return
    with pytest.raises(ValueError, match=message):
        wavelength_power(unit)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1E-17 erg/cm^2/s/Ang", 1e-17 * FLAM),
        ("1.0E-17 erg/cm/s/Ang", 1e-17 * FLAM),
        ("10**-17 erg/s/cm**2/Angstrom", 1e-17 * FLAM),
        ("10^(-17) erg s^-1 cm^-2 A^-1", 1e-17 * FLAM),
        ("erg/cm2/s/A", FLAM),
        ("ergs/cm2/s/Angstroms", FLAM),
        ("erg s-1 cm-2 \u00c5-1", FLAM),
        ("erg/(s cm2 Angstrom)", FLAM),
        ("Jy", u.Jy),
        ("counts", u.ct),
        ("COUNTS/S", u.ct / u.s),
        ("ADU", u.adu),
        ("electrons", u.electron),
        ("", u.one),
        ("none", u.one),
    ],
)
def test_units_as_headers_write_them(text, unit):
    assert parse_flux_unit(text).to(unit) == pytest.approx(1.0)


def test_a_text_that_is_no_unit_is_named():
    with pytest.raises(ValueError, match="'flurbs' is no unit of a flux"):
        parse_flux_unit("flurbs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Angstroms", (u.AA, False)),
        ("A", (u.AA, False)),
        ("nm", (u.nm, False)),
        ("microns", (u.um, False)),
        ("Hz", (u.Hz, False)),
        ("1/cm", (1 / u.cm, False)),
        ("log10(Angstrom)", (u.AA, True)),
        ("log(nm)", (u.nm, True)),
        ("loglam", (u.AA, True)),
    ],
)
def test_units_of_axes(text, expected):
    unit, log = parse_axis_unit(text)
    assert unit == expected[0] and log is expected[1]


@pytest.mark.parametrize("text", ["Jy", "pix", "km/s", "furlongs"])
def test_what_is_no_unit_of_an_axis(text):
    with pytest.raises(ValueError, match="no unit of wavelength"):
        parse_axis_unit(text)


def test_air_to_vacuum():
    # Morton D. C. (1991, ApJS, 77, 119) and NIST: H alpha, H beta, Mg II.
    air = np.array([6562.801, 4861.333, 2795.528])
    np.testing.assert_allclose(air_to_vacuum(air), [6564.614, 4862.691, 2796.352], atol=0.004)
    assert air_to_vacuum(np.array([1215.67]))[0] == 1215.67


def test_air_to_vacuum_agrees_with_specutils():
    from specutils.utils.wcs_utils import air_to_vac

    air = np.linspace(3500, 10500, 50)
    dv = (air_to_vacuum(air) / air_to_vac(air * u.AA).to_value(u.AA) - 1) * 299792.458
    assert np.abs(dv).max() < 0.1
