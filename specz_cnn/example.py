"""The packaged example: a simulated quasar spectrum in the layout of an SDSS spec-lite file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["example_path"]


def example_path() -> str:
    """Path of the packaged example spectrum, for first steps and for tests of an installation.

    It is simulated, not observed: its header says so (``SIMULATE``) and holds the true redshift (``Z_TRUE``).

    Returns
    -------
    str

    Examples
    --------
    >>> from astropy.io import fits
    >>> import specz_cnn
    >>> fits.getval(specz_cnn.example_path(), "Z_TRUE")
    2.4
    """
    return str(Path(__file__).parent / "data" / "example-spec.fits")
