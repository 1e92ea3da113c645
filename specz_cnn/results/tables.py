"""Tables of results: their columns, units and descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from specz_cnn.io.tables import table_format, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


__all__ = ["FORMATS", "TABLE_COLUMNS", "make_table", "table_format", "write_table"]

#: Columns of every results table, in order: name, type, unit, description.  Unknown numbers are NaN or -1.
TABLE_COLUMNS = (
    ("file", str, None, "Path of the spectrum, as given"),
    ("plate", np.int32, None, "SDSS plate"),
    ("mjd", np.int32, None, "MJD of the observation"),
    ("fiber", np.int32, None, "SDSS fiber"),
    ("id", str, None, "The survey's name of the spectrum"),
    ("ra", np.float64, u.deg, "Right ascension (ICRS)"),
    ("dec", np.float64, u.deg, "Declination (ICRS)"),
    ("z", np.float64, None, "Redshift, in the frame of SDSS's pipeline"),
    ("z_err", np.float64, None, "Calibrated 68% half width of the redshift"),
    ("z_lo", np.float64, None, "Lower bound of the central 68% of the best peak"),
    ("z_hi", np.float64, None, "Upper bound of the central 68% of the best peak"),
    ("z_sys", np.float64, None, "Systemic redshift, in the frame of Mg II's maximum"),
    ("z_sys_err", np.float64, None, "Its 68% half width"),
    ("z_sys_lo", np.float64, None, "Lower bound of its central 68%"),
    ("z_sys_hi", np.float64, None, "Upper bound of its central 68%"),
    (
        "confidence",
        np.float64,
        None,
        "Calibrated probability that it is a quasar and z right within 3000 km/s",
    ),
    ("p_qso", np.float64, None, "Calibrated probability that this is a quasar"),
    ("z_second", np.float64, None, "Runner-up redshift"),
    ("p_second", np.float64, None, "Probability within 3000 km/s of the runner-up, if it is a quasar"),
    ("z_check", np.float64, None, "Redshift by the cross-check model"),
    ("chi2", np.float64, None, "Reduced chi-squared of the fit of eigenspectra"),
    ("snr", np.float64, None, "Median signal-to-noise ratio per 69 km/s pixel"),
    ("coverage", np.float64, None, "Share of the wavelength range that has data"),
    ("flags", np.int64, None, "Warning bits (RedshiftFlag); 0 means use it"),
    ("error", str, None, "What went wrong"),
    ("z_pipe", np.float64, None, "Redshift by the survey's pipeline"),
    ("z_pipe_err", np.float64, None, "Its error"),
    ("class_pipe", str, None, "Class by the survey's pipeline"),
    ("zwarning_pipe", np.int64, None, "Warning bits of the survey's pipeline"),
)
_PIPELINE = ("z_pipe", "z_pipe_err", "class_pipe", "zwarning_pipe")
#: How numbers of the columns are shown.
FORMATS = {"z_err": ".5f", "snr": ".2f", "coverage": ".3f", "p_second": ".2g", "ra": ".6f", "dec": ".6f"}
FORMATS |= dict.fromkeys(("z", "z_lo", "z_hi", "z_second", "z_check", "z_pipe"), ".5f")
FORMATS |= dict.fromkeys(("z_sys", "z_sys_err", "z_sys_lo", "z_sys_hi"), ".5f") | {"chi2": ".2f"}
FORMATS |= dict.fromkeys(("confidence", "p_qso"), ".4f")


def make_table(
    columns: Mapping[str, Any], provenance: Mapping[str, Any], *, names: Sequence[str] | None = None
) -> QTable:
    """Build a results table.

    Parameters
    ----------
    columns : dict of str to sequence
        The columns of `TABLE_COLUMNS`.
    provenance : dict
        Goes into ``meta``.
    names : collection of str, optional
        Columns to include; all if not given, but those of the pipeline are left out where no spectrum has any.

    Returns
    -------
    `~astropy.table.QTable`
    """
    table = QTable(meta=dict(provenance))
    for name, dtype, unit, description in TABLE_COLUMNS:
        if names is not None and name not in names:
            continue
        values = np.array(columns[name], dtype=dtype)
        if dtype is str and values.size == 0:
            values = values.astype("U1")
        table[name] = values if unit is None else u.Quantity(values, unit)
        table[name].info.description = description
        if name in FORMATS:
            table[name].info.format = FORMATS[name]
    if names is not None:
        return table
    known = (np.isfinite(table["z_pipe"]), table["class_pipe"] != "", table["zwarning_pipe"] >= 0)
    if not any(np.any(values) for values in known):
        table.remove_columns(list(_PIPELINE))
    return table
