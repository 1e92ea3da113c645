"""Results: one redshift with everything known about it, and tables of many."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from threading import get_ident

import numpy as np
from astropy import units as u
from astropy.table import QTable

from specz_cnn.flags import RedshiftFlag, decode_flags
from specz_cnn.io.arrays import SpectrumArrays

__all__ = ["TABLE_COLUMNS", "RedshiftResult", "make_table", "write_table"]

#: Columns of every results table, in order: name, type, unit, description.  Unknown numbers are NaN or -1.
TABLE_COLUMNS = (
    ("file", str, None, "Path of the spectrum, as given"),
    ("plate", np.int32, None, "SDSS plate"),
    ("mjd", np.int32, None, "MJD of the observation"),
    ("fiber", np.int32, None, "SDSS fiber"),
    ("ra", np.float64, u.deg, "Right ascension (ICRS)"),
    ("dec", np.float64, u.deg, "Declination (ICRS)"),
    ("z", np.float64, None, "Redshift"),
    ("z_err", np.float64, None, "Calibrated 68% half width of the redshift"),
    ("z_lo", np.float64, None, "Lower bound of the central 68% of the best peak"),
    ("z_hi", np.float64, None, "Upper bound of the central 68% of the best peak"),
    ("confidence", np.float64, None, "Calibrated probability that z is right within 3000 km/s"),
    ("p_qso", np.float64, None, "Calibrated probability that this is a quasar"),
    ("z_second", np.float64, None, "Runner-up redshift"),
    ("p_second", np.float64, None, "Probability within 3000 km/s of the runner-up"),
    ("z_check", np.float64, None, "Redshift by the cross-check model"),
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
_FORMATS = {"z_err": ".5f", "snr": ".2f", "coverage": ".3f", "p_second": ".2g", "ra": ".6f", "dec": ".6f"}
_FORMATS |= dict.fromkeys(("z", "z_lo", "z_hi", "z_second", "z_check", "z_pipe"), ".5f")
_FORMATS |= dict.fromkeys(("confidence", "p_qso"), ".4f")
_SHOWN = ("z", "z_err", "confidence", "p_qso", "z_second", "p_second", "z_check", "snr", "coverage")


@dataclass(frozen=True, eq=False, repr=False)
class RedshiftResult:
    """The redshift of one spectrum.

    Parameters
    ----------
    z, z_err : float
        Redshift and its error, the calibrated half width of the central 68 %.
    z_lo, z_hi : float
        Calibrated bounds of the central 68 % of the best peak; not always symmetric about ``z``.
    confidence : float
        Calibrated probability that the redshift is right within 3000 km/s, given that the object is a quasar.
    p_qso : float
        Calibrated probability that it is a quasar.
    z_second, p_second : float
        The best redshift farther than 6000 km/s from ``z``, and the probability within 3000 km/s of it.
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

    @cached_property
    def z_grid(self):
        """Redshifts at the centres of the bins of ``pdf``: `~numpy.ndarray`, shape (n_bins,)."""
        return np.expm1(self.step * (np.arange(self.pdf.size) + 0.5))

    @cached_property
    def lines(self):
        """The strong lines: observed wavelength, whether it is covered, and S/N (`~astropy.table.QTable`)."""
        from specz_cnn.lines import line_table

        return line_table(self.spectrum.loglam, self.spectrum.flux, self.spectrum.ivar, self.z)

    def z_interval(self, level=0.68):
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
            If the level is not between 0 and 1.
        """
        from specz_cnn.posterior import credible_intervals

        return [(float(low), float(high)) for low, high in credible_intervals(self.pdf, self.step, level)]

    def to_row(self):
        """The result as a row of a results table: a dict with the names of its columns."""
        identity = self.spectrum.identity
        own = {name: getattr(self, name, "") for name, *_ in TABLE_COLUMNS if name not in identity}
        row = {**identity, **own, "flags": int(self.flags)}
        return {name: row[name] for name, *_ in TABLE_COLUMNS}

    def apply_to(self, spectrum):
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

        # Made from itself an uncertainty is copied; it has no copy method.
        uncertainty = spectrum.uncertainty
        return Spectrum(
            flux=spectrum.flux.copy(),
            spectral_axis=u.Quantity(spectrum.spectral_axis),
            uncertainty=None if uncertainty is None else type(uncertainty)(uncertainty),
            mask=None if spectrum.mask is None else np.array(spectrum.mask),
            meta={**(spectrum.meta or {}), "redshift_cnn": self.to_row() | self.provenance},
            redshift=self.z,
        )

    def plot(self, **kwargs):
        """Draw the spectrum with the lines at this redshift, and p(z).

        Parameters
        ----------
        **kwargs
            For `specz_cnn.plotting.plot_result`.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from specz_cnn.plotting import plot_result

        return plot_result(self, **kwargs)

    def _name(self):
        spectrum = self.spectrum
        if spectrum.plate >= 0:
            return f"{spectrum.plate:04d}-{spectrum.mjd}-{spectrum.fiber:04d}"
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
        cells = [(name, format(getattr(self, name), _FORMATS[name])) for name in _SHOWN]
        cells += [("flags", self._verdict()), ("model", self.provenance.get("model", ""))]
        body = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in cells)
        return (
            f"<table><caption>RedshiftResult {escape(self._name())}</caption>{body}</table>{self._picture()}"
        )

    def _picture(self):
        """The picture as an HTML image; nothing where matplotlib is not installed."""
        try:
            from specz_cnn.plotting import figure_bytes

            png = figure_bytes(self, dpi=80)
        except ImportError:
            return ""
        # The numbers are in the table and in the title of the picture.
        data = b64encode(png).decode("ascii")
        return f'<img style="max-width: 100%" alt="spectrum and p(z)" src="data:image/png;base64,{data}">'


def make_table(columns, provenance, *, names=None):
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
        if name in _FORMATS:
            table[name].info.format = _FORMATS[name]
    if names is not None:
        return table
    known = (np.isfinite(table["z_pipe"]), table["class_pipe"] != "", table["zwarning_pipe"] >= 0)
    if not any(np.any(values) for values in known):
        table.remove_columns(list(_PIPELINE))
    return table


_WRITERS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
    ".vot": "votable",
    ".xml": "votable",
}


def table_format(path):
    """Name of the astropy format that belongs to the extension of a path.

    Raises
    ------
    ValueError
        If there is none.
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in _WRITERS:
        raise ValueError(f"{path}: tables are written as {', '.join(sorted(_WRITERS))}")
    return _WRITERS[suffixes[-1]]


def write_table(table, path):
    """Write a results table in the format of the extension: ECSV, CSV, FITS, Parquet or VOTable.

    The file appears whole or not at all, and replaces one that is there.

    Parameters
    ----------
    table : `~astropy.table.QTable`
    path : path-like

    Raises
    ------
    ValueError
        If the extension is none of these.
    """
    path = Path(path)
    name = table_format(path)
    if name == "fits":
        table = _for_fits(table)
    elif name == "votable":
        table = _as_votable(table)
    elif name == "ascii.csv":
        table = _without_formats(table)
    # The temporary name keeps the extensions: compression goes by them.
    temporary = path.with_name(f".part-{os.getpid()}-{get_ident()}-{path.name}")
    try:
        if name == "votable":
            table.to_xml(os.fspath(temporary))
        elif name.startswith("ascii"):
            # Opened here: the writer would leave the file open when the disk is full.
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                table.write(file, format=name)
        else:
            table.write(temporary, format=name, overwrite=True)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # else a power failure may leave the new name on an empty file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


#: Keywords of eight characters in place of the keys of ``meta``, which FITS would not take.
_KEYWORDS = {"model_sha256": "MODELSHA", "cross_check": "CHECK", "cross_check_sha256": "CHECKSHA"}


def _without_formats(table):
    """A copy whose numbers are written in full: CSV would keep the few digits that are meant for the eye."""
    table = table.copy()
    for column in table.itercols():
        column.info.format = None
    return table


def _for_fits(table):
    """A copy that FITS can hold: short keywords, and characters beyond ASCII as escapes."""
    table = table.copy()
    table.meta = {_KEYWORDS.get(key, key[:8].upper()): value for key, value in table.meta.items()}
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "U" and not all(map(str.isascii, column)):
            column = np.array([value.encode("ascii", "backslashreplace").decode() for value in column])
            description = table[name].info.description
            table[name] = column
            table[name].info.description = description
    return table


def _as_votable(table):
    """The table as a VOTable document, its ``meta`` as INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    document = from_table(table)
    document.resources[0].infos.extend(Info(name=key, value=str(value)) for key, value in table.meta.items())
    return document
