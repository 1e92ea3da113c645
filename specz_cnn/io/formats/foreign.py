"""Spectra that readers of specutils know, with their identity as far as the header tells."""

from __future__ import annotations

import warnings

import numpy as np

from specz_cnn.io.formats.common import header_position, known, stem
from specz_cnn.io.names import spec_name

__all__ = ["labels", "read"]

# Of lists that a loader of Data Central makes, what is the science spectrum.
_NOT_SCIENCE = {"sky", "error_stdev", "error_variance", "unreduced_science", "skip"}


def labels():
    """Names of all readers of specutils (and of ours that are registered with it)."""
    from astropy.io import registry
    from specutils import Spectrum, SpectrumList

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        formats = [registry.get_formats(cls, readwrite="Read") for cls in (Spectrum, SpectrumList)]
    return sorted({str(name) for table in formats if len(table) for name in table["Format"]})


def read(path, *, format=None):
    """The spectra of a file, by the reader that specutils finds or that is named.

    Parameters
    ----------
    path : path-like
    format : str, optional
        Label of a reader.

    Returns
    -------
    list of `~specutils.Spectrum`

    Raises
    ------
    ValueError
        If no reader of specutils knows the file, or the one that does cannot read it.
    """
    from specutils import Spectrum, SpectrumList

    options = {} if format is None else {"format": format}
    found, problem = None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cls in (Spectrum, SpectrumList):
            try:
                found = cls.read(str(path), **options)
                break
            except Exception as error:  # noqa: BLE001 - foreign code, and whatever it raises
                if problem is None or type(error).__name__ != "IORegistryError":
                    problem = error
    if found is None:
        raise ValueError(" ".join(str(problem).split("\n")[0].split()) or type(problem).__name__)
    spectra = list(found) if isinstance(found, list) else [found]
    spectra = [one for one in spectra if (one.meta or {}).get("purpose") not in _NOT_SCIENCE]
    for number, spectrum in enumerate(spectra):
        name = stem(path) if len(spectra) == 1 else f"{stem(path)} {number + 1}"
        spectrum.meta.update(_identity(spectrum.meta, name))
    return spectra


def _identity(meta, name):
    """What the header says about the spectrum, under our names."""
    header = meta.get("header")
    header = header if hasattr(header, "get") else {}
    own = {}
    if "SDSS" in str(header.get("TELESCOP", "")):
        numbers = [header.get(key, -1) for key in ("PLATEID", "MJD", "FIBERID")]
        own["survey"] = "SDSS"
        own["ra"], own["dec"] = header_position(header, ("PLUG_RA", "RAOBJ"), ("PLUG_DEC", "DECOBJ"))
        if all(isinstance(number, int | np.integer) and number > 0 for number in numbers):
            own["id"] = spec_name(*numbers)
    else:
        own["survey"] = " ".join(str(header.get(key, "")).strip() for key in ("TELESCOP", "INSTRUME")).strip()
        own["ra"], own["dec"] = header_position(header)
    own.setdefault("id", name)
    return {key: value for key, value in known(own).items() if key not in meta}
