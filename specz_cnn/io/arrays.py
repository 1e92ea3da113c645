"""One spectrum as plain arrays, cheap to make and to send to another process."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

__all__ = ["SpectrumArrays"]


@dataclass(frozen=True, eq=False, slots=True)
class SpectrumArrays:
    """A spectrum, where it comes from, and what the survey's own pipeline made of it.

    Unknown integers are -1, unknown real numbers NaN and unknown strings empty.

    Parameters
    ----------
    loglam : `~numpy.ndarray`, float64, shape (n,)
        log10 of the observed vacuum wavelength in Angstrom.
    flux : `~numpy.ndarray`, float32, shape (n,)
        Flux density per unit wavelength, for SDSS in 1e-17 erg / (s cm2 Angstrom).
    ivar : `~numpy.ndarray`, float32, shape (n,)
        Inverse variance of the flux; 0 where the pixel must not be used.
    file : str
        Path of the file, as it was given.
    plate, mjd, fiber : int
        The SDSS name of the observation.
    id : str
        The survey's name of the spectrum: ``"PLATE-MJD-FIBER"`` for SDSS, TARGETID for DESI and so on.
    ra, dec : float
        Position in degrees (ICRS).
    z_pipe, z_pipe_err : float
        Redshift of the survey's pipeline and its error.
    class_pipe : str
        Its class: STAR, GALAXY or QSO.
    zwarning_pipe : int
        Its warning bits (ZWARNING).
    note : str
        What was done to the spectrum when it was read.
    """

    loglam: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    file: str = ""
    plate: int = -1
    mjd: int = -1
    fiber: int = -1
    id: str = ""
    ra: float = np.nan
    dec: float = np.nan
    z_pipe: float = np.nan
    z_pipe_err: float = np.nan
    class_pipe: str = ""
    zwarning_pipe: int = -1
    note: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything but the arrays, as a dict."""
        return {name: getattr(self, name) for name in _IDENTITY}

    def __len__(self):
        return len(self.flux)


_IDENTITY = tuple(field.name for field in fields(SpectrumArrays))[3:]
