"""The lines that the inspection page offers, those of quasars, galaxies and stars, and where the atmosphere is in the way."""

from __future__ import annotations

from specz_cnn.results.lines import LINES

__all__ = ["ATMOSPHERE", "REST_LINES"]

_GREEK = {"a": "\N{GREEK SMALL LETTER ALPHA}", "b": "\N{GREEK SMALL LETTER BETA}"}


def _label(name):
    """Ly and H with Greek letters; ions as they are."""
    return name[:-1] + _GREEK[name[-1]] if name in ("Lya", "Ha", "Hb") else name


# Vacuum wavelengths in Angstrom. Emission: laboratory values of Vanden Berk et al. 2001 (AJ 122, 549), table 2;
# absorption: the line list of the SDSS spectroscopic pipeline.
_EMISSION = (
    ("OVI", 1033.83),
    ("NV", 1240.14),
    ("OI", 1305.42),
    ("SiIV", 1396.76),
    ("HeII", 1640.42),
    ("AlIII", 1857.40),
    ("CII]", 2326.44),
    ("[NeV]", 3426.84),
    ("[OII]", 3728.48),
    ("[NeIII]", 3869.85),
    ("H\N{GREEK SMALL LETTER DELTA}", 4102.89),
    ("H\N{GREEK SMALL LETTER GAMMA}", 4341.68),
    ("[OIII]", 4960.30),
    ("[SII]", 6718.29),
)
_ABSORPTION = (
    ("K", 3934.78),
    ("H", 3969.59),
    ("G", 4305.61),
    ("Mg", 5176.70),
    ("Na", 5895.60),
    ("CaII", 8544.44),
)

#: Name, vacuum wavelength in Angstrom and kind of every line: ``"strong"`` for those that fits are judged by, ``"weak"``
#: emission, ``"absorption"``, and ``"edge"`` for the Lyman limit. Ascending in wavelength.
REST_LINES = sorted(
    [
        *((_label(line.name), line.rest_wavelength, "strong") for line in LINES),
        *((name, wavelength, "weak") for name, wavelength in _EMISSION),
        *((name, wavelength, "absorption") for name, wavelength in _ABSORPTION),
        ("Ly limit", 911.75, "edge"),
    ],
    key=lambda line: line[1],
)

#: Observed vacuum wavelengths, from and to, in Angstrom, where a spectrum from the ground tells of the atmosphere: ``"sky"`` for bright
#: emission, whose subtraction leaves residuals (Hanuschik 2003, A&A 407, 1157: [OI], NaI and the bands of OH), ``"telluric"`` for
#: absorption by oxygen and water (Moehler et al. 2014, A&A 568, A9).
ATMOSPHERE = [
    (5572, 5586, "sky"),
    (5887, 5902, "sky"),
    (6297, 6307, "sky"),
    (6361, 6370, "sky"),
    (6867, 6950, "telluric"),
    (7164, 7340, "telluric"),
    (7594, 7700, "telluric"),
    (8105, 8290, "telluric"),
    (8290, 8475, "sky"),
    (8762, 8962, "sky"),
    (8962, 9280, "telluric"),
    (9280, 9820, "telluric"),
    (9870, 10110, "sky"),
    (10275, 10400, "sky"),
]
