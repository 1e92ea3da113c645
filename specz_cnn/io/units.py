"""What a flux is per, and wavelengths in air: the physics of units between files and arrays.

A redshift needs flux per unit wavelength, of any scale.  What a flux is measured in decides the power of the wavelength
that makes it so; what is no flux, or could be two kinds of it, is refused, because a wrong power tilts the spectrum.
"""

from __future__ import annotations

import re

import numpy as np
from astropy import units as u

__all__ = ["air_to_vacuum", "parse_axis_unit", "parse_flux_unit", "wavelength_power"]

# Parts of a unit that every pixel has alike: solid angles, and pixels by whatever name.
_ALIKE = (u.rad, u.beam, u.pix, u.bin, u.chan, u.vox)
_COUNTS = (u.ct, u.electron, u.adu, u.DN)
# Lengths that name a wavelength where only one length is left; 1 / cm may also be meant as a wavenumber.
_WAVELENGTHS = (u.AA, u.nm, u.um)

# Powers of (energy, photons, length, time) of a flux: power of the wavelength that makes it energy per wavelength.
# Hertz counts as 1 / s, so that energy per time and frequency has no time left.
_POWERS = {
    (1, 0, -3, -1): 0,  # per wavelength
    (1, 0, -1, -1): 0,  # luminosity per wavelength
    (1, 0, -2, 0): -2,  # per frequency
    (1, 0, 0, 0): -2,
    (1, 0, -2, -1): -1,  # nu F_nu
    (1, 0, 0, -1): -1,
    (0, 1, -3, -1): -1,  # photons per wavelength
    (0, 1, -1, -1): -1,
    (0, 1, -2, 0): -3,  # photons per frequency
    (0, 1, 0, 0): -3,
}
# The same per energy in place of frequency.
_PER_ENERGY = {(1, 0, -2, -1): -2, (1, 0, 0, -1): -2, (0, 1, -2, -1): -3, (0, 1, 0, -1): -3}


def wavelength_power(unit):
    """Power of the wavelength that turns a flux in this unit into energy per unit wavelength, but for a constant.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase`

    Returns
    -------
    int
        0 for flux per wavelength, and for counts and numbers without unit, which are taken as such; -2 for flux per
        frequency or energy; -1 for nu F_nu and for photons per wavelength; -3 for photons per frequency or energy.
        Per solid angle, beam or pixel makes no difference.

    Raises
    ------
    ValueError
        If it is logarithmic, no flux, or may be read in two ways.
    """
    if isinstance(unit, u.function.FunctionUnitBase) or unit.is_equivalent(u.mag):
        raise ValueError(f"a flux in {unit} is logarithmic; convert it to a flux density")
    if isinstance(unit, u.UnrecognizedUnit):
        return wavelength_power(parse_flux_unit(str(unit)))
    energy, per_energy, photons, counts, length, time, single = 0, 0, 0, 0, 0, 0, True
    for base, power in _parts(unit):
        kind = _kind(base)
        if kind == "energy":
            energy, per_energy = energy + max(power, 0), per_energy + min(power, 0)
        elif kind == "length":
            length += power
            single &= not power or base in _WAVELENGTHS
        elif kind == "photons":
            photons += power
        elif kind == "counts":
            counts += power
        elif kind == "time":
            time += power
        elif kind is None:
            raise ValueError(f"a flux in {unit} is no flux density")
    powers = energy, photons, length, time
    if counts or not any((*powers, per_energy)):
        if counts in (0, 1) and not (energy or photons or per_energy) and length in (0, -1, -2, -3):
            return 0
        raise ValueError(f"a flux in {unit} is no flux density")
    if length == -1 and not single:
        raise ValueError(
            f"a flux in {unit} may be per wavelength or per wavenumber; convert it to one per wavelength"
        )
    found = {0: _POWERS, -1: _PER_ENERGY}.get(per_energy, {}).get(powers)
    if found is None:
        raise ValueError(f"a flux in {unit} is no flux density")
    return found


def _parts(unit):
    """(base, power) of a unit, taken apart just far enough to know what each base is."""
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if base in (u.A, u.Angstrom):
            yield u.AA, power  # an ampere in a flux is an Angstrom that somebody abbreviated
        elif _kind(base) is not None or base.decompose().bases == [base]:
            yield base, power
        else:
            yield from ((part, own * power) for part, own in _mechanics(base))


def _mechanics(base):
    """A named unit such as W, Jy or mgy as powers of energy, length and time."""
    if base == getattr(u, "mgy", None) or base.is_equivalent(getattr(u, "mgy", u.Jy)):
        return ((u.erg, 1), (u.cm, -2))
    bare = base.decompose()
    powers = dict(zip((str(b) for b in bare.bases), bare.powers, strict=True))
    mass = powers.pop("kg", 0)
    if set(powers) - {"m", "s", "rad"}:
        return ((base, 1),)
    # A kilogram is a joule by (s / m)^2.
    return ((u.erg, mass), (u.cm, powers.get("m", 0) - 2 * mass), (u.s, powers.get("s", 0) + 2 * mass))


def _kind(base):
    if base in _COUNTS:
        return "counts"
    if base == u.photon:
        return "photons"
    if base.is_equivalent(u.rad) or base.is_equivalent(u.sr) or base in _ALIKE or str(base) == "spaxel":
        return "alike"
    if base.is_equivalent(u.erg):
        return "energy"
    if base.is_equivalent(u.cm):
        return "length"
    if base.is_equivalent(u.s):
        return "time"
    if base.is_equivalent(u.Unit(1.0)):
        return "alike"
    return None


def parse_flux_unit(text):
    """A flux unit as people and headers write it.

    Parameters
    ----------
    text : str
        Such as ``"1E-17 erg/cm^2/s/Ang"``, ``"erg s-1 cm-2 A-1"`` (A for Angstrom), ``"counts"``, ``"Jy"`` or nothing.

    Returns
    -------
    `~astropy.units.UnitBase`

    Raises
    ------
    ValueError
        If it is none; the message names it.
    """
    bare = re.sub(r"^\s*(?:1(?:\.0*)?[eE]|10(?:\^|\*\*)\(?)([+-]?\d+)\)?\s*\*?", r" ", str(text)).strip()
    match = re.match(r"\s*(?:1(?:\.0*)?[eE]|10(?:\^|\*\*)\(?)([+-]?\d+)", str(text))
    scale = 10.0 ** int(match[1]) if match else 1.0
    bare = bare.lower() if bare.isupper() and len(bare) > 3 else bare
    bare = re.sub(r"(?i)erg/cm/s/ang", "erg/cm2/s/ang", bare)  # a slip in all headers of SDSS-I/II
    bare = re.sub(r"(?i)\b(ergs?)\b", "erg", bare)
    bare = re.sub(r"(?i)angstroms?|\bang\b|\u00c5|\u212b", "Angstrom", bare)
    bare = re.sub(r"\bA(?![A-Za-z])", "Angstrom", bare)
    bare = re.sub(r"(?i)\b(counts?|cts?)\b", "ct", bare)
    bare = re.sub(r"(?i)\b(adus?)\b", "adu", bare)
    bare = re.sub(r"(?i)\bphotons?\b", "photon", bare)
    bare = re.sub(r"(?i)\b(electrons?|e-)(?=\W|$)", "electron", bare).replace("^", "**")
    if not bare or bare.lower() in ("none", "unitless", "dimensionless", "relative"):
        return u.Unit(scale)
    if bare.count("/") > 1 and "(" not in bare:
        # a/b/c, which is no unit string by the FITS standard
        first, *below = (part.strip() for part in bare.split("/"))
        bare = f"{first or 1} / ({' '.join(below)})"
    try:
        unit = u.Unit(bare)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is no unit of a flux: {str(error).splitlines()[0]}") from None
    return unit if scale == 1 else u.Unit(scale * unit)


def parse_axis_unit(text):
    """Unit of a spectral axis as people and headers write it.

    Parameters
    ----------
    text : str
        Such as ``"Angstroms"``, ``"A"``, ``"nm"``, ``"micron"``, ``"Hz"``, or ``"log10(Angstrom)"``, ``"loglam"``.

    Returns
    -------
    unit : `~astropy.units.UnitBase`
    log : bool
        Whether the numbers are logarithms to base 10.

    Raises
    ------
    ValueError
        If it is no unit of wavelength, frequency, energy or wavenumber.
    """
    bare = str(text).strip()
    if bare.lower() in ("loglam", "loglambda", "log"):
        return u.AA, True
    match = re.fullmatch(r"(?i)log(?:10)?\s*[(\[]?\s*([^)\]]*?)\s*[)\]]?", bare)
    if match and match[1]:
        return parse_axis_unit(match[1])[0], True
    if re.fullmatch(r"(?i)a|aa|ang|angstroms?|\u00c5|\u212b", bare):
        return u.AA, False
    if re.fullmatch(r"(?i)(?:um|mum|\u00b5m|\u03bcm|microns?|micrometers?|micrometres?)", bare):
        return u.um, False
    if re.fullmatch(r"(?i)nanomet(?:er|re)s?", bare):
        return u.nm, False
    try:
        unit = u.Unit(bare)
    except (ValueError, TypeError):
        unit = None
    if unit is None or not unit.is_equivalent(u.AA, u.spectral()):
        raise ValueError(f"{text!r} is no unit of wavelength, frequency, energy or wavenumber")
    return unit, False


def air_to_vacuum(wavelength):
    """Vacuum wavelengths of wavelengths in standard air (15 C, 101325 Pa).

    The refractivity is that of Ciddor P. E. (1996, Applied Optics, 35, 1566), as SDSS uses it; below 2000 Angstrom,
    where wavelengths are given in vacuum by convention, nothing changes.

    Parameters
    ----------
    wavelength : `~numpy.ndarray`, float64
        In air, Angstrom.

    Returns
    -------
    `~numpy.ndarray`, float64
        In vacuum, Angstrom; right to 1e-9.
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    vacuum = wavelength
    for _ in range(3):  # the index is given at the vacuum wavelength
        squared = (1e4 / vacuum) ** 2
        index = 1 + 0.05792105 / (238.0185 - squared) + 0.00167917 / (57.362 - squared)
        vacuum = np.where(wavelength >= 2000, wavelength * index, wavelength)
    return vacuum
