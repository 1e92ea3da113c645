"""What every comparison with a catalogue of SDSS's quasars needs: names of spectra as numbers, rows by name, missing values."""

from __future__ import annotations

import numpy as np

__all__ = ["MAX_FIBER", "known_redshifts", "rows_by_name", "spectrum_keys"]

#: No plate has as many fibres; catalogue numbers of SDSS-V are larger: they name no fibre.
MAX_FIBER = 100_000

# DR16Q writes -1 for a missing redshift; those of stars reach down to -0.002.
_MISSING_BELOW = -0.5


def known_redshifts(z):
    """Redshifts with NaN where a catalogue has none.

    Parameters
    ----------
    z : array_like

    Returns
    -------
    `~numpy.ndarray`
    """
    z = np.asarray(z, dtype=float)
    return np.where(z > _MISSING_BELOW, z, np.nan)


def spectrum_keys(plate, mjd, fiber):
    """One number for each plate, MJD and fibre.

    Parameters
    ----------
    plate, mjd, fiber : array_like of int, shape (n,)
        Negative or masked where they are unknown.

    Returns
    -------
    `~numpy.ndarray` of int64, shape (n,)
        -1 where one of them is unknown.
    """
    plate, mjd, fiber = (
        np.ma.filled(np.ma.asarray(part), -1).astype(np.int64) for part in (plate, mjd, fiber)
    )
    unknown = (plate < 0) | (mjd < 0) | (fiber < 0)
    return np.where(unknown, -1, (plate * 1_000_000 + mjd) * MAX_FIBER + fiber)


def rows_by_name(keys, wanted):
    """First row with the same key.

    Parameters
    ----------
    keys, wanted : `~numpy.ndarray` of int64, shapes (n,) and (m,)
        Of `spectrum_keys`.

    Returns
    -------
    `~numpy.ndarray` of int, shape (m,)
        -1 where there is none.
    """
    found, first = np.unique(keys, return_index=True)
    if not found.size:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(found, wanted), found.size - 1)
    return np.where((wanted >= 0) & (found[place] == wanted), first[place], -1)
