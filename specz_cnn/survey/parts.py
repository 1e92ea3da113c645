"""The output: numbered parts in a directory, each of them whole or not there."""

from __future__ import annotations

from pathlib import Path

from specz_cnn.io import tables

__all__ = ["FORMATS", "count_rows", "part_path"]

#: Format: suffix of the parts.
FORMATS = {"parquet": ".parquet", "fits": ".fits"}


def part_path(directory, number, format):
    """Path of a part."""
    return Path(directory) / f"part-{number:06d}{FORMATS[format]}"


def count_rows(path):
    """Number of rows of a part, or -1 if it cannot be read."""
    try:
        return tables.count_rows(path)
    except (OSError, ValueError):
        return -1
