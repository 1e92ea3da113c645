"""Visual inspection: one web page that holds the spectra and records what people make of them."""

from __future__ import annotations

from specz_cnn.report.page import write_inspection_page
from specz_cnn.report.verdicts import (
    VERDICT_COLUMNS,
    disagreements,
    merge_verdicts,
    read_verdicts,
    write_verdicts,
)

__all__ = [
    "VERDICT_COLUMNS",
    "disagreements",
    "merge_verdicts",
    "read_verdicts",
    "write_inspection_page",
    "write_verdicts",
]
