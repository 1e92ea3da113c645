"""The engine of every fit: spectra on the model grid in, columns of results out.

Single spectra, tables and surveys all go through `prepare` (cheap, plain numpy, may run in other processes) and
`Fitter.fit` (the networks), so that they agree to the last digit.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from specz_cnn.config import conf
from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.models.cache import cached_model
from specz_cnn.models.forks import one_thread_in_forks
from specz_cnn.models.output import network_output, resolve_device
from specz_cnn.models.registry import same_weights
from specz_cnn.redshift.measure import CONVENTIONS, GRID, described, packaged_measurement, systemic_from
from specz_cnn.redshift.posterior import IDENTITY, certainty, confidence_of, posterior
from specz_cnn.redshift.prepare import error_text
from specz_cnn.redshift.provenance import provenance_of
from specz_cnn.results.flags import RedshiftFlag
from specz_cnn.velocity import RIGHT, SPEED_OF_LIGHT, is_right

if TYPE_CHECKING:
    from specz_cnn.typing import ModelName

__all__ = ["RESULTS", "FitBatch", "Fitter", "default_models"]

_LITTLE_COVERAGE = 0.5  # of the model grid
_POOR_SNR = 0.3  # mean per native SDSS pixel, in the best of the segments
_N_SEGMENTS = 12  # a quasar at z > 6 is dark in all but the reddest of them
_LIMIT_MARGIN = 1000.0 / SPEED_OF_LIGHT  # in ln(1 + z)
_CHECK_CONFIDENCE = 0.5  # a cross-check with less confidence is ignored

# Characters that tables cannot hold: control characters, line separators, halves of UTF-16 pairs (which is how Python
# shows bytes of a file name that are no text).
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

_SYSTEMIC = ("z_sys", "z_sys_err", "z_sys_lo", "z_sys_hi")
_MEASURED = ("z", "z_err", "z_lo", "z_hi", *_SYSTEMIC, "confidence", "p_qso", "z_second", "p_second")
_MEASURED += ("z_check", "chi2")

#: Columns of numbers that `Fitter.fit` makes, apart from the flags.
RESULTS = (*_MEASURED, "snr", "coverage")


def _writable(value):
    """A text that every format of table can hold: what it cannot is written as an escape."""
    if not isinstance(value, str):
        return value
    return _UNWRITABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), value)


def _best_snr(flux, ivar, factor):
    """Mean S/N per native pixel in the best of a few segments of the wavelength range, shape (n,)."""
    n_pixels = flux.shape[1]
    starts = np.linspace(0, n_pixels, _N_SEGMENTS, endpoint=False).astype(np.int64)
    length = np.diff(starts, append=n_pixels)
    used = np.add.reduceat(ivar > 0, starts, axis=1, dtype=np.int64)
    ratio = flux.astype(np.float64) * np.sqrt(ivar.astype(np.float64))
    snr = np.add.reduceat(ratio, starts, axis=1) / np.maximum(used, 1) / factor**0.5
    return np.where(used >= length // 2, snr, -np.inf).max(axis=1)


@dataclass(frozen=True)
class FitBatch:
    """Results of a batch as columns.

    Parameters
    ----------
    columns : dict of str to `~numpy.ndarray` or list
        One entry for each column of a results table.
    pdf : `~numpy.ndarray` or None
        Shape (n, n_bins); NaN in rows without a result.  None if it was not asked for.
    step : float
        Width of the bins in ln(1 + z).
    """

    columns: dict
    pdf: np.ndarray | None
    step: float


class Fitter:
    """A model and its cross-check on a device, ready for any number of batches.

    Parameters
    ----------
    model : str or path-like, optional
        Name of a packaged model or a weights file; ``conf.default_model`` if not given.
    cross_check : str, path-like or None, optional
        Model that gives the second opinion, None for none.  ``"default"`` is ``conf.default_cross_check``, or
        ``conf.default_model`` if the former is the model itself.
    device : str, `torch.device` or None, optional
        None means CUDA if there is one, else the CPU.
    measure : bool, optional
        Fit eigenspectra about the peaks of p(z) (`specz_cnn.redshift.measure`); a network that gives no p(z) is left alone.
    convention : {"pipeline", "catalogue"}, optional
        Whose redshift ``z`` is where Lyman alpha is in view: that of SDSS's pipeline, from all wavelengths, or that of its
        quasar catalogues, without the forest.
    insist : bool, optional
        Whether a device that fails is an error; by default if it was named.  Else the work goes on on the CPU.

    Attributes
    ----------
    grid : `~specz_cnn.io.grid.ModelGrid`
        Of the model.
    grids : tuple of `~specz_cnn.io.grid.ModelGrid`
        All that the networks read, that of the model first: for `prepare`.
    info : `~specz_cnn.models.ModelInfo`
        Of the model.
    provenance : dict
        Tags and checksums of the models, version of the package, device.

    Raises
    ------
    WeightsError
        If a model cannot be loaded.
    RuntimeError
        If CUDA is asked for and there is none.
    """

    def __init__(
        self,
        model=None,
        cross_check="default",
        device=None,
        *,
        measure=True,
        convention="pipeline",
        insist=None,
    ):
        if convention not in CONVENTIONS:
            raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, not {convention!r}")
        self._names = default_models(model, cross_check)
        self._wants, self._convention = measure, convention
        self._insists = device is not None if insist is None else insist
        self.device = device
        try:
            self.device = resolve_device(device)
            self._load()
        except RuntimeError as error:
            if self._insists or str(self.device) == "cpu":
                raise
            self._leave_device(error)
        self.info, self.grid = self._network.info, self._network.grid
        grids = [network.grid for network in (self._network, self._check) if network is not None]
        if self._measurement is not None:
            grids.append(GRID)
        self.grids = tuple(dict.fromkeys(grids))
        check = None if self._check is None else self._check.info
        self.provenance = provenance_of(
            self.info, check, measure=measure, convention=convention, device=self.device
        )

    @one_thread_in_forks()
    def _load(self):
        model, cross_check = self._names
        network = cached_model(model, self.device)
        check = None if cross_check is None else cached_model(cross_check, self.device, opinion=True)
        self._network, self._check = network, check
        self._measurement = None
        if self._wants and network.info.bins is not None:
            self._measurement = packaged_measurement(str(self.device))

    def _may_leave(self, device):
        return device.type != "cpu" and not self._insists

    def _leave_device(self, error):
        """Go on without a device that fails, which nobody has asked for by name."""
        warnings.warn(
            f"{self.device} failed ({error_text(error)[:200]}); continuing on the CPU",
            RuntimeWarning,
            stacklevel=4,
        )
        self.device = resolve_device("cpu")
        self._load()
        if hasattr(self, "provenance"):
            self.provenance["device"] += ", cpu"

    @one_thread_in_forks()
    def fit(self, prepared, *, with_pdf=True):
        """Measure a batch.

        Parameters
        ----------
        prepared : sequence of Prepared
            On ``grids``.  Memory grows with the length: a few hundred at a time.
        with_pdf : bool, optional
            False for a batch without p(z), which saves time where only the columns are wanted.

        Returns
        -------
        FitBatch
            A row for each, in the same order.
        """
        rows = np.array([i for i, item in enumerate(prepared) if item.flux is not None], dtype=np.int64)
        n = len(prepared)
        columns = {name: np.full(n, np.nan) for name in _MEASURED}
        flags = np.array([item.flags for item in prepared], dtype=np.int64)
        errors = [item.error for item in prepared]
        pdf, step = None, np.nan
        if rows.size:
            spectra = self._stack([prepared[i] for i in rows])
            flux, ivar = spectra[self.grid]
            first = 0
            for values, found, own in self._measure_in_memory(spectra, with_pdf):
                part = rows[first : first + len(found)]
                first += len(found)
                for name, value in values.items():
                    columns[name][part] = value
                flags[part] |= found
                if with_pdf and pdf is None:
                    pdf, step = np.full((n, own.pdf.shape[1]), np.nan), own.step
                if with_pdf:
                    pdf[part] = own.pdf
            flags[rows[_best_snr(flux, ivar, self.grid.factor) < _POOR_SNR]] |= RedshiftFlag.POORDATA
            for row in rows[~np.isfinite(columns["z"][rows])]:
                flags[row] |= RedshiftFlag.BAD_INPUT
                errors[row] = "the network gives no finite answer"
        columns["snr"] = np.array([item.snr for item in prepared], dtype=np.float64)
        columns["coverage"] = np.array([item.coverage for item in prepared], dtype=np.float64)
        measured = np.isfinite(columns["snr"])
        flags[measured & (columns["coverage"] < _LITTLE_COVERAGE)] |= RedshiftFlag.LITTLE_COVERAGE
        columns["flags"] = flags
        columns["device"] = [str(self.device)] * n
        columns["error"] = [_writable(error) for error in errors]
        identity = SpectrumArrays(*(np.empty(0),) * 3).identity
        for name, unknown in identity.items():
            columns[name] = [_writable(item.identity.get(name, unknown)) for item in prepared]
        return FitBatch(columns, pdf, step)

    def _stack(self, prepared):
        """Flux and inverse variance of prepared spectra on each grid, arrays of shape (n, n_pixels)."""
        others = self.grids[1:]
        if any(len(item.others) < len(others) for item in prepared):
            raise ValueError(
                f"the spectra lack one of the grids {self.grids}; prepare them with Fitter.grids"
            )
        pairs = [zip(*((item.flux, item.ivar) for item in prepared), strict=True)]
        pairs += [zip(*(item.others[i] for item in prepared), strict=True) for i in range(len(others))]
        return {
            grid: tuple(np.stack(values) for values in pair)
            for grid, pair in zip(self.grids, pairs, strict=True)
        }

    def _measure_in_memory(self, spectra, with_pdf=True):
        """Results of consecutive parts of a batch: one, or as many as memory asks for."""
        try:
            parts = [self._measure(spectra, with_pdf)]
        except (MemoryError, RuntimeError) as error:
            half = len(spectra[self.grid][0]) // 2 if _is_out_of_memory(error) else 0
            if not half and not self._may_leave(self.device):
                raise
            problem = error
        else:
            return parts
        # Outside the handler: the error holds on to the frames, and with them to the memory, of what failed.
        problem = problem.with_traceback(None)
        if not half:
            self._leave_device(problem)
            return self._measure_in_memory(spectra, with_pdf)
        return [
            part
            for piece in (slice(half), slice(half, None))
            for part in self._measure_in_memory(
                {grid: (flux[piece], ivar[piece]) for grid, (flux, ivar) in spectra.items()}, with_pdf
            )
        ]

    def _measure(self, spectra, with_pdf=True):
        """Results and flags of spectra that have data, and the model's own posterior."""
        inputs, other = {}, None
        own = _posterior(self._network, *spectra[self.grid], inputs)
        if self._check is not None:
            other = _posterior(self._check, *spectra[self._check.grid], inputs, brief=True)
        number = self.info.bins is None
        agree, check, z_check = None, "", np.full(len(own.z), np.nan)
        if other is not None:
            z_check, check = other.z, self._check.info.name
            agree = is_right(own.z, z_check).astype(float)
            agree[~np.isfinite(z_check)] = np.nan
        p_qso = own.p_qso if other is None or not number else other.p_qso
        # A star may have lines that fit one redshift only: as the redshift of a quasar it is wrong all the same.
        right = confidence_of(own.score, self.info.calibration, agree=agree, check=check, number=number)
        confidence = certainty(right, p_qso)
        flags = 0
        if self._measurement is None:
            values = systemic_from(own, packaged_measurement().frames, self.info.frame)
        else:
            found = self._measurement(
                own,
                *spectra[GRID],
                convention=self._convention,
                frame=self.info.frame,
                with_pdf=with_pdf,
            )
            own, values = found.own, {**found.systemic, "chi2": found.chi2}
            flags = np.where(found.outliers, int(RedshiftFlag.MANY_OUTLIERS), 0)
        values |= {
            name: getattr(own, name) for name in ("z", "z_err", "z_lo", "z_hi", "z_second", "p_second")
        }
        values |= {"confidence": confidence, "p_qso": p_qso, "z_check": z_check}
        return values, flags | self._flags(own, other, confidence, p_qso, agree), own

    def description(self, prepared):
        """The eigenspectra that describe a spectrum, as a function; None without a measurement.

        Parameters
        ----------
        prepared : Prepared
            On ``grids``.

        Returns
        -------
        callable or None
            Of a redshift and log10 of observed wavelengths in Angstrom; it gives the flux there.
        """
        if self._measurement is None:
            return None
        flux, ivar = self._stack([prepared])[GRID]
        return partial(described, flux[0], ivar[0])

    def _flags(self, own, other, confidence, p_qso, agree):
        limits = {**IDENTITY["thresholds"], **self.info.calibration.get("thresholds", {})}
        low, high = np.log1p(self.info.z_range)
        u = np.log1p(own.z)
        at_limit = (u > high - _LIMIT_MARGIN) | ((u < low + _LIMIT_MARGIN) & (low > 0))
        disagree = np.zeros(u.shape, dtype=bool)
        if other is not None:
            has_say = ~(self._check_confidence(other) < _CHECK_CONFIDENCE)
            disagree = (agree == 0) & has_say
            u_check = np.log1p(other.z)
            at_limit |= has_say & ((u_check > high + _LIMIT_MARGIN) | (u_check < low - _LIMIT_MARGIN))
        # Comparisons with NaN, where a model cannot tell, raise no flag.
        not_quasar = p_qso < limits["p_qso"]
        raised = {
            RedshiftFlag.SMALL_DELTA: own.delta < limits["delta"],
            RedshiftFlag.Z_FITLIMIT: at_limit,
            RedshiftFlag.LOW_CONFIDENCE: confidence < limits["confidence"],
            RedshiftFlag.NOT_QSO: not_quasar,
            RedshiftFlag.MODELS_DISAGREE: disagree,
            # Hardly any quasar is that near; a spectrum that was shifted to rest looks as if it were.
            RedshiftFlag.REST_FRAME: np.abs(u) < RIGHT,
        }
        return sum(np.where(where, int(flag), 0) for flag, where in raised.items())

    def _check_confidence(self, other):
        info = self._check.info
        return confidence_of(other.score, info.calibration, number=info.bins is None)


def default_models(
    model: ModelName | None = None, cross_check: ModelName | None = "default"
) -> tuple[ModelName, ModelName | None]:
    """The names of the model and of the cross-check (or None), with the settings filled in."""
    model = model or str(conf.default_model)
    if cross_check == "default":
        cross_check = str(conf.default_cross_check) or None
        if cross_check and same_weights(cross_check, model):
            cross_check = str(conf.default_model)
    return model, None if cross_check is None or same_weights(cross_check, model) else cross_check


def _posterior(network, flux, ivar, inputs, brief=False):
    info = network.info
    output = network_output(network, flux, ivar, inputs)
    # Outside the grid of a cross-check there may be nothing to see.
    lost = ~np.isfinite(output).all(axis=1) | ~(ivar > 0).any(axis=1)
    output[lost] = 0.0  # one row that went wrong must not take the others with it
    result = posterior(
        output, bins=info.bins, calibration=info.calibration, z_range=info.z_range, brief=brief
    )
    if lost.any():
        for entry in fields(result):
            values = getattr(result, entry.name)
            if isinstance(values, np.ndarray):
                values[lost] = np.nan
    return result


def _is_out_of_memory(error):
    """Whether an exception says that memory is used up, on the CPU or on CUDA."""
    import torch

    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        "alloc" in str(error).lower() and "memory" in str(error).lower()
    )
