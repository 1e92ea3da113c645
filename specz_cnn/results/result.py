"""One redshift with everything known about it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.io.names import spec_name
from specz_cnn.io.tables import plain
from specz_cnn.results.distribution import credible_intervals
from specz_cnn.results.flags import RedshiftFlag, decode_flags
from specz_cnn.results.tables import FORMATS, TABLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from astropy.table import QTable
    from matplotlib.figure import Figure
    from specutils import Spectrum

__all__ = ["RedshiftResult"]

_SHOWN = (
    "z",
    "z_err",
    "z_sys",
    "z_sys_err",
    "confidence",
    "p_qso",
    "z_second",
    "p_second",
    "z_check",
    "chi2",
)
_SHOWN += ("snr", "coverage")
_SDSS_FLUX = u.Unit("1e-17 erg / (s cm2 Angstrom)")


@dataclass(frozen=True, eq=False, repr=False)
class RedshiftResult:
    """The redshift of one spectrum.

    Parameters
    ----------
    z, z_err : float
        Redshift and its error, the calibrated half width of the central 68 %, in the frame of SDSS's pipeline.
    z_lo, z_hi : float
        Calibrated bounds of the central 68 % of the best peak; not always symmetric about ``z``.
    confidence : float
        Calibrated probability that it is a quasar and its redshift right within 3000 km/s.
    p_qso : float
        Calibrated probability that it is a quasar.
    z_second, p_second : float
        The best redshift farther than 6000 km/s from ``z``, and the probability within 3000 km/s of it, given that the
        object is a quasar.
    z_check : float
        Redshift by the cross-check model; NaN without one.
    snr : float
        Median signal-to-noise ratio per pixel of 69 km/s.
    coverage : float
        Share of the model's wavelength range that has data.
    flags : RedshiftFlag
        Warnings; 0 means: use it.
    pdf : `~numpy.ndarray`, shape (n_bins,)
        Probability of each redshift bin, given that the object is a quasar; sums to 1.
    step : float
        Width of the bins in ln(1 + z); bin ``k`` lies between ``k * step`` and ``(k + 1) * step``.
    spectrum : SpectrumArrays
        The spectrum as it was used; its flux may have been scaled.
    provenance : dict
        Tags and SHA-256 of the models, version of the package, device.
    z_sys, z_sys_err, z_sys_lo, z_sys_hi : float
        As ``z``, of the systemic redshift, in the frame of the maximum of Mg II.
    chi2 : float
        Reduced chi-squared of the fit of eigenspectra; NaN if there was none.
    description : callable or None
        Of a redshift and log10 of wavelengths in Angstrom, the fit of eigenspectra there: what `model_flux` comes from.
    """

    z: float
    z_err: float
    z_lo: float
    z_hi: float
    confidence: float
    p_qso: float
    z_second: float
    p_second: float
    z_check: float
    snr: float
    coverage: float
    flags: RedshiftFlag
    pdf: np.ndarray = field(repr=False)
    step: float
    spectrum: SpectrumArrays = field(repr=False)
    provenance: dict = field(repr=False)
    z_sys: float = np.nan
    z_sys_err: float = np.nan
    z_sys_lo: float = np.nan
    z_sys_hi: float = np.nan
    chi2: float = np.nan
    description: Callable[[float, np.ndarray], np.ndarray] | None = field(default=None, repr=False)

    @cached_property
    def z_grid(self) -> np.ndarray:
        """Redshifts at the centres of the bins of ``pdf``: `~numpy.ndarray`, shape (n_bins,)."""
        return np.expm1(self.step * (np.arange(self.pdf.size) + 0.5))

    @cached_property
    def model_flux(self) -> np.ndarray | None:
        """Flux of the best fit of eigenspectra at the pixels of `spectrum`, NaN outside the range that is fitted.

        None if there was no fit.
        """
        return None if self.description is None else self.description(self.z, self.spectrum.loglam)

    @cached_property
    def model(self) -> Spectrum | None:
        """The fit of eigenspectra on the observed wavelengths (vacuum), to be drawn over `spectrum`.

        `~specutils.Spectrum` in the units of ``spectrum.flux`` (of a spectrum without an SDSS name, without unit), masked
        outside the range that is fitted; None if there was no fit.
        """
        if self.model_flux is None:
            return None
        from specutils import Spectrum

        unit = _SDSS_FLUX if self.spectrum.plate >= 0 else u.dimensionless_unscaled
        return Spectrum(
            spectral_axis=10.0**self.spectrum.loglam * u.AA,
            flux=self.model_flux * unit,
            mask=np.isnan(self.model_flux),
            meta={"redshift_cnn": self.to_row() | self.provenance},
        )

    @cached_property
    def lines(self) -> QTable:
        """The strong lines: observed wavelength, whether it is covered, and S/N (`~astropy.table.QTable`)."""
        from specz_cnn.results.lines import line_table

        return line_table(self.spectrum.loglam, self.spectrum.flux, self.spectrum.ivar, self.z)

    def z_interval(self, level: float = 0.68) -> list[tuple[float, float]]:
        """Shortest credible interval, or intervals where p(z) has several peaks.

        Parameters
        ----------
        level : float, optional
            Probability the intervals hold together.

        Returns
        -------
        list of tuple of float
            Lower and upper redshift of each interval, ascending.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1, or p(z) is not finite.
        """

        return [(float(low), float(high)) for low, high in credible_intervals(self.pdf, self.step, level)]

    def to_row(self) -> dict[str, Any]:
        """The result as a row of a results table: a dict with the names of its columns."""
        identity = self.spectrum.identity
        own = {name: getattr(self, name, "") for name, *_ in TABLE_COLUMNS if name not in identity}
        row = {**identity, **own, "flags": int(self.flags)}
        return {name: row[name] for name, *_ in TABLE_COLUMNS}

    def to_dict(self, *, pdf: bool = False) -> dict[str, Any]:
        """The result in plain Python types, as JSON knows them: unknown numbers are None.

        Parameters
        ----------
        pdf : bool, optional
            With the probabilities and the width of their bins in ln(1 + z) (``pdf``, ``step``), and the bin centres
            (``z_grid``).

        Returns
        -------
        dict
            The columns of a results table, ``flag_names``, and ``provenance``.

        Examples
        --------
        >>> import json
        >>> import specz_cnn
        >>> result = specz_cnn.fit_redshift_cnn(specz_cnn.example_path())
        >>> json.loads(json.dumps(result.to_dict()))["flag_names"]
        []
        """
        values = self.to_row() | {"flag_names": decode_flags(self.flags), "provenance": self.provenance}
        if pdf:
            values |= {"pdf": self.pdf, "step": self.step, "z_grid": self.z_grid}
        return plain(values)

    def apply_to(self, spectrum: Spectrum) -> Spectrum:
        """A copy of a spectrum with its redshift set to this one.

        Parameters
        ----------
        spectrum : `~specutils.Spectrum`
            Not changed.

        Returns
        -------
        `~specutils.Spectrum`
            With the same data; ``redshift`` is `z`, and ``meta["redshift_cnn"]`` holds the row of results.
        """
        from specutils import Spectrum

        # An uncertainty has no copy method; making one from another copies it.
        uncertainty = spectrum.uncertainty
        return Spectrum(
            flux=spectrum.flux.copy(),
            spectral_axis=u.Quantity(spectrum.spectral_axis),
            uncertainty=None if uncertainty is None else type(uncertainty)(uncertainty),
            mask=None if spectrum.mask is None else np.array(spectrum.mask),
            meta={**(spectrum.meta or {}), "redshift_cnn": self.to_row() | self.provenance},
            redshift=self.z,
        )

    def plot(self, **kwargs: Any) -> Figure:
        """Draw the spectrum with the lines at this redshift, and p(z).

        Parameters
        ----------
        **kwargs
            For `specz_cnn.results.plotting.plot_result`.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from specz_cnn.results.plotting import plot_result

        return plot_result(self, **kwargs)

    def _name(self):
        spectrum = self.spectrum
        if spectrum.plate >= 0:
            return spec_name(spectrum.plate, spectrum.mjd, spectrum.fiber)
        return Path(spectrum.file).name

    def _verdict(self):
        return ", ".join(decode_flags(self.flags)) or "none"

    def __repr__(self):
        name = self._name()
        second = f", z_second={self.z_second:.4f} ({self.p_second:.1g})" if self.p_second > 1e-3 else ""
        return (
            f"<RedshiftResult{' ' + name if name else ''}: z = {self.z:.5f} +- {self.z_err:.5f}, "
            f"confidence={self.confidence:.4f}, p_qso={self.p_qso:.4f}{second}, z_check={self.z_check:.4f}, "
            f"flags: {self._verdict()}>"
        )

    def _repr_html_(self):
        cells = [(name, format(getattr(self, name), FORMATS[name])) for name in _SHOWN]
        cells += [("flags", self._verdict()), ("model", self.provenance.get("model", ""))]
        body = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in cells)
        return (
            f"<table><caption>RedshiftResult {escape(self._name())}</caption>{body}</table>{self._picture()}"
        )

    def _picture(self):
        """The picture as an HTML image; nothing where matplotlib is not installed."""
        try:
            from specz_cnn.results.plotting import figure_bytes

            png = figure_bytes(self, dpi=80)
        except ImportError:
            return ""
        # The numbers are in the table and in the title of the picture.
        data = b64encode(png).decode("ascii")
        return f'<img style="max-width: 100%" alt="spectrum and p(z)" src="data:image/png;base64,{data}">'
