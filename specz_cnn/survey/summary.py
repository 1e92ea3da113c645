"""What came out of a survey: rows, flags, and failures by kind."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.results.flags import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["SurveySummary", "failure_kind"]


def failure_kind(error, file=""):
    """An error message without what is particular to one file: its path, names in quotes, numbers.

    Parameters
    ----------
    error : str
    file : str, optional
        Path of the file it is about.

    Returns
    -------
    str
    """
    text = error.replace(f"{file}: ", "") if file else error
    text = re.sub(r"\[Errno \d+\] ", "", text)
    text = re.sub(r":? ?(?:'[^']*'|\"[^\"]*\")", "", text)
    return re.sub(r"\d+(?:\.\d+)?", "#", text).strip() or "unknown"


@dataclass
class SurveySummary:
    """Counts over all rows, of this run and of those before it.

    Parameters
    ----------
    n_rows : int
        Rows in all parts.
    n_failed : int
        Rows with an error: the file could not be read, or holds nothing that can be measured.
    n_clean : int
        Rows with ``flags == 0``.
    flags : `~collections.Counter`
        Rows with each flag, by name.
    failures : `~collections.Counter`
        Rows with each kind of error message.
    n_earlier : int
        Rows that an earlier run had finished.
    seconds : float
        Duration of this run.
    """

    n_rows: int = 0
    n_failed: int = 0
    n_clean: int = 0
    flags: Counter = field(default_factory=Counter)
    failures: Counter = field(default_factory=Counter)
    n_earlier: int = 0
    seconds: float = 0.0

    def add(self, columns: Mapping[str, Any], *, earlier: bool = False) -> None:
        """Count some rows.

        Parameters
        ----------
        columns : dict of str to `~numpy.ndarray`
            With at least ``flags``, ``error`` and ``file``.
        earlier : bool, optional
            Whether an earlier run measured them.
        """
        flags = np.asarray(columns["flags"])
        self.n_rows += flags.size
        self.n_earlier += flags.size if earlier else 0
        self.n_clean += int((flags == 0).sum())
        failed = np.flatnonzero(np.asarray(columns["error"]) != "")
        self.n_failed += failed.size
        for flag in FLAGS:
            count = int(((flags & flag.value) != 0).sum())
            if count:
                self.flags[flag.name] += count
        for i in failed:
            self.failures[failure_kind(str(columns["error"][i]), str(columns["file"][i]))] += 1

    def __str__(self):
        measured = self.n_rows - self.n_earlier
        rate = f", {measured / self.seconds:.0f}/s" if self.seconds > 0 and measured else ""
        lines = [f"{self.n_rows} rows, {measured} of them now in {self.seconds:.1f} s{rate}"]
        lines.append(f"  {self.n_clean} without any flag")
        lines += [f"  {self.flags[flag.name]} {flag.name}" for flag in FLAGS if self.flags[flag.name]]
        if self.failures:
            lines.append("errors:")
            lines += [f"  {count} {kind}" for kind, count in self.failures.most_common(20)]
        return "\n".join(lines)
