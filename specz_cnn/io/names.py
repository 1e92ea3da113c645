"""Names of SDSS spectra and their files: ``spec-PLATE-MJD-FIBER.fits``."""

from __future__ import annotations

import os
import re

__all__ = ["SPEC_PATTERNS", "parse_file_name", "parse_name", "spec_file_name", "spec_name"]

#: Patterns of the names of spectrum files in a directory tree.
SPEC_PATTERNS = ("spec-*.fits", "spec-*.fits.gz")

# SDSS-V has fields of six digits in place of plates, and long catalogue numbers in place of fibres.
_FILE_NAME = re.compile(r"spec-(\d{4,6})-(\d{5})-(\d{4,})(?!\d)", re.ASCII)
_NAME = re.compile(r"(?:spec-)?(\d{1,5})-(\d{5})-(\d{1,4})(?:\.fits(?:\.gz)?)?", re.ASCII)


def spec_name(plate: int, mjd: int, fiber: int) -> str:
    """The name of a spectrum, ``PLATE-MJD-FIBER``."""
    return f"{plate:04d}-{mjd:05d}-{fiber:04d}"


def spec_file_name(plate: int, mjd: int, fiber: int) -> str:
    """The name of its file, ``spec-PLATE-MJD-FIBER.fits``."""
    return f"spec-{spec_name(plate, mjd, fiber)}.fits"


def parse_file_name(path):
    """What the name of a file says about the spectrum in it.

    Parameters
    ----------
    path : path-like
        Only the part behind the last slash or backslash counts.

    Returns
    -------
    tuple of int or None
        Plate, MJD and fibre; of SDSS-V field, MJD and catalogue number.
    """
    name = os.fspath(path).replace("\\", "/").rpartition("/")[2]
    match = _FILE_NAME.search(name)
    return tuple(map(int, match.groups())) if match else None


def parse_name(text):
    """Plate, MJD and fibre of a name as people write it, with or without ``spec-``, leading zeros and ``.fits``.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of int or None
        None if the text is anything else or more.
    """
    match = _NAME.fullmatch(text)
    return tuple(map(int, match.groups())) if match else None
