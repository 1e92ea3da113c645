"""A survey with known properties."""

from __future__ import annotations

from made_up_survey import survey

__all__ = ["survey"]
