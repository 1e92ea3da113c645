"""What a redshift is: its distribution, one result, tables of results, flags, lines, plots."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specz_cnn.results.result import RedshiftResult
    from specz_cnn.results.tables import TABLE_COLUMNS, make_table, table_format, write_table

__all__ = ["TABLE_COLUMNS", "RedshiftResult", "make_table", "table_format", "write_table"]

# Plain numbers such as flags need neither specutils nor tables.
_LAZY = {
    "RedshiftResult": "result",
    "TABLE_COLUMNS": "tables",
    "make_table": "tables",
    "table_format": "tables",
    "write_table": "tables",
}


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name in _LAZY:
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
