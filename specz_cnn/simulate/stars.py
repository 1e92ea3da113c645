"""Stars and stellar populations from a few formulae: the compact bank's part in what is no quasar.

A star is a black body with the lines and bands that its temperature asks for.  Strengths of lines follow the spectral
sequence (Gray R. O., Corbally C. J. 2009, Stellar Spectral Classification); wavelengths are laboratory values in vacuum.  No
spectrum of a real star went into this: colours and breaks are right, the thousands of weak metal lines are missing.
"""

from __future__ import annotations

import numpy as np

from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = ["galaxy_components", "star_rows"]

#: Metal lines (vacuum Angstrom): equivalent width in a K star (A), temperature (K) below which they are strong, width (km/s).
_METAL_LINES = (
    (3582.2, 3.0, 6800, 350), (3720.9, 2.5, 6800, 300), (3735.9, 3.0, 6800, 300), (3821.5, 2.5, 6600, 300),
    (3934.8, 9.0, 7800, 420), (3969.6, 8.0, 7800, 420), (4046.9, 1.2, 6200, 160), (4064.7, 1.0, 6200, 160),
    (4144.6, 0.9, 6000, 160), (4227.9, 2.2, 5300, 200), (4273.0, 1.0, 6000, 160), (4326.9, 1.2, 6000, 160),
    (4384.8, 1.3, 6000, 160), (4405.9, 1.0, 6000, 160), (4456.0, 0.8, 5600, 160), (4532.4, 0.8, 6000, 200),
    (4669.4, 0.8, 5600, 200), (4921.9, 0.7, 6000, 160), (4958.7, 0.8, 6000, 160), (5168.7, 1.8, 6000, 170),
    (5174.1, 2.2, 6000, 170), (5185.0, 2.6, 6000, 170), (5270.9, 1.8, 5900, 200), (5329.9, 1.4, 5900, 200),
    (5407.0, 0.8, 5900, 180), (5891.6, 2.0, 5100, 140), (5897.6, 1.6, 5100, 140), (6104.4, 0.4, 5200, 140),
    (6123.9, 0.5, 5200, 140), (6163.9, 0.5, 5200, 140), (6497.0, 0.8, 5600, 160), (8500.4, 1.5, 7200, 150),
    (8544.4, 3.4, 7200, 150), (8664.5, 2.8, 7200, 150), (8690.0, 0.4, 5600, 140), (8809.2, 0.7, 5600, 140),
)  # fmt: skip

#: Molecular bands: head (vacuum Angstrom), how far they reach (A, negative to the blue), depth in a late M dwarf.
_TIO_BANDS = (
    (4762.0, 120, 0.45), (4955.6, 150, 0.55), (5168.0, 160, 0.50), (5449.5, 150, 0.45), (5847.0, 120, 0.40),
    (6160.0, 130, 0.55), (6352.0, 60, 0.30), (6653.0, 120, 0.45), (7055.0, 60, 0.55), (7089.0, 120, 0.55),
    (7336.0, 90, 0.30), (7591.0, 60, 0.50), (7668.0, 150, 0.50), (7853.0, 90, 0.25), (8208.0, 80, 0.30),
    (8434.0, 130, 0.40), (8862.0, 110, 0.30), (9211.0, 130, 0.25), (9900.0, 120, 0.25),
)  # fmt: skip
_SWAN_BANDS = (
    (4383.0, -120, 0.4),
    (4738.5, -180, 0.6),
    (5166.6, -220, 0.8),
    (5637.0, -220, 0.6),
    (6192.0, -150, 0.3),
)
_HELIUM = (3889.7, 4027.3, 4472.7, 4923.3, 5017.1, 5877.3, 6680.0, 7067.2)
_IONISED_HELIUM = (4542.9, 4687.0, 5413.0)
_LIMIT = 3647.0


def _balmer(n):
    """Vacuum wavelength of the Balmer line from level ``n``."""
    return 911.76 / (0.25 - 1.0 / n**2)


def _planck(wavelength, temperature):
    """Black body per wavelength, one at 5500 Angstrom."""
    x = 1.4388e8 / temperature
    return (5500.0 / wavelength) ** 5 * np.expm1(x / 5500.0) / np.expm1(x / wavelength)


def _bell(wavelength, centre, sigma):
    return np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2)


def _absorb(flux, wavelength, centre, width, equivalent, *, wings=0.0):
    """Put a line into a spectrum, in place: a Gaussian core and a share of Lorentzian wings; flux never goes below zero."""
    sigma = centre * width / SPEED_OF_LIGHT
    reach = 30 * sigma if wings else 5 * sigma
    low, high = np.searchsorted(wavelength, (centre - reach, centre + reach))
    away = wavelength[low:high] - centre
    profile = (1 - wings) * np.exp(-0.5 * (away / sigma) ** 2) / (sigma * 2.5066)
    if wings:
        profile += wings * (3 * sigma / np.pi) / (away**2 + 9 * sigma**2)
    flux[low:high] *= np.exp(-equivalent * profile)


def _bands(wavelength, bands, strength):
    """Transmission of molecular bands: sharp at the head, fading away from it."""
    depth = np.zeros_like(wavelength)
    for head, reach, deep in bands:
        away = (wavelength - head) / reach
        depth = depth - np.log1p(-0.97 * deep) * np.where(away >= 0, np.exp(-1.5 * away.clip(0, 20)), 0.0)
    return np.exp(-strength * depth)


def _step(x):
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))


def normal_star(wavelength, temperature, *, metals=1.0, broad=1.0):
    """A star of the main sequence or a giant.

    Parameters
    ----------
    wavelength : `~numpy.ndarray`, shape (n,)
        Vacuum Angstrom.
    temperature : float
        Kelvin, 2600 to 40000.
    metals : float
        Strength of metal lines and bands, one for the Sun's.
    broad : float
        Width of the hydrogen lines; dwarfs have broader ones than giants.

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
        Flux per wavelength, one at 5500 Angstrom but for lines.
    """
    flux = _planck(wavelength, max(temperature, 2300.0))
    hot = np.log(temperature / 9300.0)
    # Hydrogen is strongest at A0, with the jump at the series limit.
    strength = np.exp(-0.5 * (hot / (0.26 if hot < 0 else 0.55)) ** 2)
    jump = 0.9 * strength * _step((3750.0 - wavelength) / 25.0)
    flux = flux * np.exp(-jump)
    for n in range(3, 16):
        ew = (15.0 * strength + 1.0 * _step((temperature - 4800.0) / 300.0)) * min(1.0, (8.0 / n) ** 2) * 0.9
        centre = _balmer(n)
        _absorb(flux, wavelength, centre, broad * (250 + 300 * strength), ew, wings=0.35)
    for n in range(9, 18):  # the Paschen series
        centre = 911.76 / (1 / 9 - 1 / n**2)
        _absorb(flux, wavelength, centre, broad * (200 + 400 * strength), 5.0 * strength, wings=0.3)
    if temperature > 10500:
        amount = np.exp(-0.5 * (np.log(temperature / 20000.0) / 0.35) ** 2)
        for line in _HELIUM:
            _absorb(flux, wavelength, line, 200, 1.0 * amount)
    if temperature > 28000:
        for line in _IONISED_HELIUM:
            _absorb(flux, wavelength, line, 200, 0.9)
    for line, ew, below, width in _METAL_LINES:
        amount = metals * ew * _step((below - temperature) / 500.0)
        if amount > 0.02:
            _absorb(flux, wavelength, line, width, amount, wings=0.2)
    cool = _step((6300.0 - temperature) / 450.0)
    # The G band, and the crowd of metal lines that dims the blue and makes the break at 4000 Angstrom.
    flux = flux * (1 - 0.28 * metals**0.5 * cool * _bell(wavelength, 4305.0, 14.0))
    crowd = 0.75 * _step((3990.0 - wavelength) / 18.0) + 0.35 * _step((4400.0 - wavelength) / 250.0)
    crowd = crowd + 1.2 * _step((3100.0 - wavelength) / 150.0)
    flux = flux * np.exp(-crowd * metals**0.5 * _step((6900.0 - temperature) / 600.0))
    flux = flux * (1 - 0.25 * metals**0.5 * cool * _bell(wavelength, 5175.0, 60.0))  # MgH
    molecules = _step((3750.0 - temperature) / 200.0) + 0.15 * _step((4200.0 - temperature) / 150.0)
    if molecules > 1e-3:
        flux = flux * _bands(wavelength, _TIO_BANDS, molecules * metals**0.5)
    if temperature < 4000:
        for line, ew in ((7667.0, 3.0), (7701.0, 2.5), (8185.5, 2.5), (8197.1, 3.0), (4227.9, 6.0)):
            _absorb(flux, wavelength, line, 250, ew * _step((3600.0 - temperature) / 300.0))
    return flux


def white_dwarf(wavelength, temperature, kind, width):
    """A white dwarf: ``DA`` hydrogen, ``DB`` helium, ``DQ`` carbon, ``DZ`` calcium, ``DC`` nothing."""
    flux = _planck(wavelength, temperature)
    if kind == "DA":
        strength = np.exp(-0.5 * (np.log(temperature / 13000.0) / 0.6) ** 2)
        flux = flux * np.exp(-0.25 * strength * _step((3800.0 - wavelength) / 80.0))
        for n in range(3, 10):
            _absorb(flux, wavelength, _balmer(n), width, 45.0 * strength * (4 / n) ** 0.5, wings=0.5)
    elif kind == "DB":
        for line in _HELIUM:
            _absorb(flux, wavelength, line, 0.8 * width, 14.0, wings=0.4)
    elif kind == "DQ":
        flux = flux * _bands(wavelength, _SWAN_BANDS, 0.8)
    elif kind == "DZ":
        for line in (3934.8, 3969.6, 4227.9):
            _absorb(flux, wavelength, line, 0.8 * width, 25.0, wings=0.5)
    return flux


def cataclysmic(wavelength, rng):
    """An accretion disc with broad, often double, emission lines of hydrogen and helium."""
    flux = (wavelength / 5500.0) ** rng.uniform(-2.4, -0.6)
    sigma = np.exp(rng.normal(np.log(600.0), 0.35))
    split = rng.uniform(0.0, 0.9) * sigma
    ew = np.exp(rng.normal(np.log(40.0), 0.7))
    lines = [
        (_balmer(n), ew * f)
        for n, f in zip(range(3, 11), (1, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25), strict=True)
    ]
    lines += [(line, 0.25 * ew * rng.uniform(0.3, 1.2)) for line in _HELIUM]
    lines += [(4687.0, ew * rng.uniform(0.0, 0.6)), (4645.0, 0.1 * ew)]
    excess = np.zeros_like(wavelength)
    for centre, amount in lines:
        width = centre * sigma / SPEED_OF_LIGHT
        low, high = np.searchsorted(wavelength, (centre - 7 * width, centre + 7 * width))
        for side in (-1, 1):
            place = centre * (1 + side * split / SPEED_OF_LIGHT)
            excess[low:high] += 0.5 * amount * _bell(wavelength[low:high], place, width) / (2.5066 * width)
    flux = flux * (1 + excess + rng.uniform(0, 0.5) * _step((_LIMIT - wavelength) / 30.0))
    if rng.random() < 0.3:  # the companion
        flux = flux + rng.uniform(0.1, 1.5) * normal_star(wavelength, rng.uniform(2900, 3600))
    return flux


def star_rows(wavelength, rng, *, n=80):
    """Stars of all kinds.

    Parameters
    ----------
    wavelength : `~numpy.ndarray`, shape (n_pixels,)
        Vacuum Angstrom.
    rng : `numpy.random.Generator`
    n : int
        Of each kind: hot, A, F, G, K, M stars and white dwarfs; twice as many cataclysmic variables, whose broad lines
        resemble a quasar's most, and a third as many carbon stars.

    Returns
    -------
    `~numpy.ndarray`, shape (n_stars, n_pixels)
    """
    rows = []
    ranges = ((10500, 32000), (7500, 10500), (6000, 7500), (5200, 6000), (3900, 5200), (2600, 3900))
    for low, high in ranges:
        for temperature in np.exp(rng.uniform(np.log(low), np.log(high), n)):
            metals = np.exp(rng.normal(-0.2, 0.5))
            row = normal_star(wavelength, temperature, metals=metals, broad=rng.uniform(0.5, 1.3))
            if temperature < 3900 and rng.random() < 0.3:  # an active dwarf
                for k in (3, 4, 5):
                    row = row * (1 + rng.uniform(0.5, 3.0) * _bell(wavelength, _balmer(k), 4.0))
            rows.append(row)
    kinds = rng.choice(["DA", "DB", "DC", "DQ", "DZ"], n, p=[0.7, 0.1, 0.1, 0.05, 0.05])
    for kind in kinds:
        temperature = np.exp(rng.uniform(np.log(6500 if kind in ("DA", "DC") else 9000), np.log(40000)))
        if kind in ("DQ", "DZ"):
            temperature = rng.uniform(6000, 11000)
        dwarf = white_dwarf(wavelength, temperature, kind, np.exp(rng.normal(np.log(1500.0), 0.4)))
        if rng.random() < 0.12:  # with a red companion
            dwarf = dwarf + rng.uniform(0.1, 2.0) * normal_star(wavelength, rng.uniform(2800, 3600))
        rows.append(dwarf)
    rows += [cataclysmic(wavelength, rng) for _ in range(2 * n)]
    for _ in range(n // 3):
        star = normal_star(wavelength, rng.uniform(3800, 5200), metals=0.7)
        rows.append(star * _bands(wavelength, _SWAN_BANDS, rng.uniform(0.5, 2.0)))
    return np.array(rows)


def galaxy_components(wavelength):
    """Stellar populations from young to old, and the emission of ionised gas.

    Parameters
    ----------
    wavelength : `~numpy.ndarray`, shape (n_pixels,)
        Vacuum Angstrom.

    Returns
    -------
    `~numpy.ndarray`, shape (5, n_pixels)
        About 30 million years, 500 million, 2 billion, 10 billion years, each one at 5500 Angstrom, and gas with an
        equivalent width of H-alpha of about 100 Angstrom on a flat continuum of one.
    """
    mixtures = (
        {25000: 0.55, 15000: 0.2, 9500: 0.15, 4200: 0.1},
        {9500: 0.5, 8000: 0.3, 4600: 0.2},
        {7000: 0.45, 6200: 0.25, 4600: 0.3},
        {5800: 0.25, 4900: 0.3, 4400: 0.35, 3500: 0.1},
    )
    rows = [
        sum(share * normal_star(wavelength, kelvin, metals=1.3) for kelvin, share in mixture.items())
        for mixture in mixtures
    ]
    gas = np.zeros_like(wavelength)
    lines = ((3728.5, 60), (3869.8, 5), (4102.9, 8), (4341.7, 15), (4862.7, 32), (4960.3, 10), (5008.2, 30))
    lines += (
        (6549.9, 11),
        (6564.6, 100),
        (6585.3, 33),
        (6718.3, 17),
        (6732.7, 13),
        (9533.2, 15),
        (9071.1, 6),
    )
    for centre, ew in lines:
        width = centre * 140.0 / SPEED_OF_LIGHT
        gas += ew * _bell(wavelength, centre, width) / (2.5066 * width)
    rows.append(gas)
    return np.array(rows)
