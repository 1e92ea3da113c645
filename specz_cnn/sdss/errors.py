"""Errors and warnings of the access to SDSS."""

from __future__ import annotations

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["SDSSError", "SDSSWarning"]


class SDSSError(RuntimeError):
    """An SDSS service cannot be reached, or does not give what it was asked for; the message says which and why."""


class SDSSWarning(AstropyUserWarning):
    """Some of what was asked of SDSS is not there."""
