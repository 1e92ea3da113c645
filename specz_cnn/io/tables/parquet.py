"""Parquet tables, without pandas, which astropy would ask for."""

from __future__ import annotations

import numpy as np
from astropy.table import MaskedColumn, Table, meta

from specz_cnn.io.tables.packed import unpacked
from specz_cnn.io.tables.words import map_text, to_text, utf8, wanted

__all__ = ["arrays_of_parquet", "count_parquet", "read_parquet", "write_parquet"]

# Where astropy keeps units, descriptions and ``meta``.
_HEADER = b"table_meta_yaml"


def read_parquet(path, columns=None):
    """Read a Parquet table, or only some of its columns."""
    import pyarrow.parquet

    with unpacked(path) as stream:
        file = pyarrow.parquet.ParquetFile(stream)
        rows = file.read(columns=wanted(file.schema_arrow.names, columns))
    header = (rows.schema.metadata or {}).get(_HEADER)
    header = meta.get_header_from_yaml(header.decode().splitlines()) if header else {}
    described = {entry["name"]: entry for entry in header.get("datatype", ())}
    table = Table(meta=header.get("meta"))
    table.meta.pop("__serialized_columns__", None)
    for name in rows.column_names:
        table[name] = _from_arrow(rows[name])
        for key in ("unit", "format", "description"):
            if value := described.get(name, {}).get(key):
                setattr(table[name].info, key, value)
    return table


def _from_arrow(column):
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if types.is_null(kind):
        return np.array([""] * len(column), dtype=str)
    if types.is_string(kind) or types.is_large_string(kind):
        return np.array(column.fill_null("").to_numpy(zero_copy_only=False).tolist(), dtype=str)
    if types.is_binary(kind) or types.is_large_binary(kind):
        return np.array([to_text(value or b"") for value in column.to_pylist()], dtype=str)
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return np.array(column.to_pylist())
    if types.is_decimal(kind):
        column = column.cast(pyarrow.float64())
    if column.null_count and (types.is_integer(kind) or types.is_boolean(kind)):
        known = column.fill_null(0 if types.is_integer(kind) else False)
        return MaskedColumn(known.to_numpy(), mask=column.is_null().to_numpy())
    return column.to_numpy()


def arrays_of_parquet(path, names=None):
    """Columns as arrays, without copies where that is possible."""
    import pyarrow.parquet

    with unpacked(path) as stream:
        rows = pyarrow.parquet.ParquetFile(stream).read(columns=names)
    return {name: rows[name].to_numpy() for name in rows.column_names}


def count_parquet(path):
    """Number of rows, which the file's last bytes tell."""
    import pyarrow.parquet

    with unpacked(path) as stream:
        return pyarrow.parquet.read_metadata(stream).num_rows


def write_parquet(table, stream):
    """Write a Parquet table."""
    import pyarrow
    import pyarrow.parquet

    table = map_text(table, utf8)
    arrays = []
    for column in table.itercols():
        values, missing = np.asarray(column), np.ma.getmaskarray(column)
        # From an array of text pyarrow takes what comes before the first NUL.
        cut = values.dtype.kind == "U" and any("\0" in text for text in values.ravel().tolist())
        if values.ndim > 1 or cut:
            arrays.append(pyarrow.array(values.tolist()))
        else:
            arrays.append(pyarrow.array(values, mask=missing if missing.any() else None))
    header = {_HEADER: "\n".join(meta.get_yaml_from_table(table)).encode("utf-8", "backslashreplace")}
    # By these astropy knows the widths of texts.
    for column in table.itercols():
        if column.dtype.kind == "U":
            header[f"table::len::{column.info.name}".encode()] = str(column.dtype.itemsize // 4).encode()
    rows = pyarrow.Table.from_arrays(arrays, names=table.colnames).replace_schema_metadata(header)
    pyarrow.parquet.write_table(rows, stream)
