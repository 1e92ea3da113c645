"""The output: numbered parts in a directory, each of them whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["FORMATS", "count_rows", "part_path", "read_columns"]

#: Format: suffix of the parts.
FORMATS = {"parquet": ".parquet", "fits": ".fits"}


def part_path(directory, number, format):
    """Path of a part."""
    return Path(directory) / f"part-{number:06d}{FORMATS[format]}"


def read_columns(path, names=None):
    """Columns of a part as plain arrays.

    Parameters
    ----------
    path : `~pathlib.Path`
    names : sequence of str, optional
        All if not given.

    Returns
    -------
    dict of str to `~numpy.ndarray`

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path, columns=names)
        return {name: table[name].to_numpy() for name in table.column_names}
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdulist:
        data = hdulist[1].data
        return {name: _native(data[name]) for name in names or data.names}


def _native(values):
    values = np.asarray(values)
    return values.astype(str) if values.dtype.kind == "U" else values.astype(values.dtype.newbyteorder("="))


def count_rows(path):
    """Number of rows of a part, or -1 if it cannot be read."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_metadata(path).num_rows
        from astropy.io import fits

        with fits.open(path) as hdulist:
            return hdulist[1].header["NAXIS2"]
    except (OSError, ValueError, IndexError, KeyError):
        return -1
