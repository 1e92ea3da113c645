"""Spectra by the million: arrays straight from the bytes of spec-lite files."""

from __future__ import annotations

from specz_cnn.io.layout import read_arrays_astropy

__all__ = ["read_arrays"]


def read_arrays(path, *, mask="default", pipeline=True):
    """Read a spec-lite file as plain arrays."""
    return read_arrays_astropy(path, mask=mask, pipeline=pipeline)
