"""Files to spectra: SDSS spec-lite files as `specutils.Spectrum` objects for people, as plain arrays for many."""

from __future__ import annotations

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
