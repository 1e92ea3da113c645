"""Write spec-lite files."""

from __future__ import annotations

__all__ = ["write_spec_lite"]


def write_spec_lite(path, loglam, flux, ivar):
    """Write a spec-lite file."""
    raise NotImplementedError
