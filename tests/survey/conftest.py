"""A small survey, and networks with random weights."""

from __future__ import annotations

from small_survey import files, inputs, networks, options, same_output, tree, undisturbed

__all__ = ["files", "inputs", "networks", "options", "same_output", "tree", "undisturbed"]
