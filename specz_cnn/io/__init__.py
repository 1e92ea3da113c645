"""Files to spectra: SDSS spec-lite files as `specutils.Spectrum` objects for people, as plain arrays for many."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specz_cnn.io.arrays import SpectrumArrays
    from specz_cnn.io.bitmask import MASK_POLICIES, SPPIXMASK, bad_pixels, decode_sppixmask
    from specz_cnn.io.bulk import read_arrays
    from specz_cnn.io.layout import SpecLiteError, read_arrays_astropy
    from specz_cnn.io.spec_lite import prefer_spec_lite_loader, read_spec_lite
    from specz_cnn.io.writer import write_spec_lite

__all__ = [
    "MASK_POLICIES",
    "SPPIXMASK",
    "SpecLiteError",
    "SpectrumArrays",
    "bad_pixels",
    "decode_sppixmask",
    "prefer_spec_lite_loader",
    "read_arrays",
    "read_arrays_astropy",
    "read_spec_lite",
    "write_spec_lite",
]

# Code that reads no files needs neither astropy nor specutils, which take seconds to import.
_LAZY = {
    "MASK_POLICIES": "bitmask",
    "SPPIXMASK": "bitmask",
    "SpecLiteError": "layout",
    "SpectrumArrays": "arrays",
    "bad_pixels": "bitmask",
    "decode_sppixmask": "bitmask",
    "prefer_spec_lite_loader": "spec_lite",
    "read_arrays": "bulk",
    "read_arrays_astropy": "layout",
    "read_spec_lite": "spec_lite",
    "write_spec_lite": "writer",
}


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name in _LAZY:
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
