"""The engine of every fit: spectra on the model grid in, columns of results out.

Single spectra, tables and surveys all go through `prepare` (cheap, plain numpy, may run in other processes) and
`Fitter.fit` (the networks), so that they agree to the last digit.
"""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field, fields

import numpy as np

from specz_cnn.flags import RedshiftFlag
from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.posterior import RIGHT, certainty, confidence_of, posterior

__all__ = [
    "RESULTS",
    "FitBatch",
    "Fitter",
    "Prepared",
    "default_models",
    "network_output",
    "prepare",
    "prepare_path",
    "prepare_rebinned",
    "resolve_device",
]

_C = 299792.458  # km/s
_LITTLE_COVERAGE = 0.5  # of the model grid
_POOR_SNR = 0.3  # mean per native SDSS pixel, in the best of the segments
_N_SEGMENTS = 12  # a quasar at z > 6 is dark in all but the reddest of them
_LIMIT_MARGIN = 1000.0 / _C  # in ln(1 + z)
_CHECK_CONFIDENCE = 0.5  # a cross-check less confident than this has no say

# Monte-Carlo dropout of networks that return one number.
_DROPOUT_SAMPLES = 16
_DROPOUT_SEED = 20220421
_DROPOUT_RATE = 0.1  # for networks trained without

# Characters that tables cannot hold: control characters, line separators, halves of UTF-16 pairs (which is how Python
# shows bytes of a file name that are no text).
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

_MEASURED = ("z", "z_err", "z_lo", "z_hi", "confidence", "p_qso", "z_second", "p_second", "z_check")

#: Columns of numbers that `Fitter.fit` makes, apart from the flags.
RESULTS = (*_MEASURED, "snr", "coverage")


@dataclass(frozen=True)
class Prepared:
    """A spectrum on a model grid, or why there is none; plain and picklable.

    Parameters
    ----------
    flux, ivar : `~numpy.ndarray` or None
        float32, shape (n_pixels,); None if there is nothing to fit.
    snr : float
        Median signal-to-noise ratio per SDSS pixel (69 km/s), whatever the sampling of the input was.
    coverage : float
        Share of the grid's pixels that have data.
    flags : int
        READ_ERROR, BAD_INPUT or NODATA.
    error : str
        What went wrong.
    identity : dict
        `SpectrumArrays.identity`.
    """

    flux: np.ndarray | None = None
    ivar: np.ndarray | None = None
    snr: float = np.nan
    coverage: float = 0.0
    flags: int = 0
    error: str = ""
    identity: dict = field(default_factory=dict)


def prepare(arrays, grid):
    """Put a spectrum on a model grid.

    Parameters
    ----------
    arrays : SpectrumArrays
    grid : `~specz_cnn.grid.ModelGrid`

    Returns
    -------
    Prepared
        Flagged BAD_INPUT if the arrays make no spectrum, NODATA if no pixel is usable.
    """
    identity = arrays.identity
    try:
        flux, ivar = grid.rebin(arrays.loglam, arrays.flux, arrays.ivar)
    except (ValueError, TypeError) as error:
        return Prepared(flags=int(RedshiftFlag.BAD_INPUT), error=str(error), identity=identity)
    return prepare_rebinned(flux, ivar, grid, identity)


def prepare_rebinned(flux, ivar, grid, identity=None):
    """As `prepare`, for a spectrum that is on the grid already.

    Parameters
    ----------
    flux, ivar : `~numpy.ndarray`, float32, shape (n_pixels,)
    grid : `~specz_cnn.grid.ModelGrid`
    identity : dict, optional
        `SpectrumArrays.identity`.

    Returns
    -------
    Prepared
        Flagged NODATA if no pixel is usable.
    """
    identity = identity or {}
    good = ivar > 0
    if not good.any() or np.ptp(flux[good]) == 0:
        reason = "flux without any structure" if good.any() else "no usable pixel in the wavelength range"
        return Prepared(flags=int(RedshiftFlag.NODATA), error=reason, identity=identity)
    snr = np.median(flux[good].astype(np.float64) * np.sqrt(ivar[good].astype(np.float64) / grid.factor))
    return Prepared(flux, ivar, float(snr), float(good.mean()), identity=identity)


def prepare_path(path, grid, mask="default"):
    """Read a spec-lite file and put it on a model grid; a file that cannot be read is flagged READ_ERROR.

    Parameters
    ----------
    path : path-like
    grid : `~specz_cnn.grid.ModelGrid`
    mask : str or int, optional
        Mask policy, see `specz_cnn.io.bad_pixels`.

    Returns
    -------
    Prepared
    """
    from specz_cnn.io import read_arrays

    try:
        arrays = read_arrays(path, mask=mask)
    except Exception as error:  # noqa: BLE001 - whatever a hostile file provokes, its row must not be lost
        identity = SpectrumArrays(*(np.empty(0),) * 3, file=str(path)).identity
        return Prepared(flags=int(RedshiftFlag.READ_ERROR), error=_message(error), identity=identity)
    return prepare(arrays, grid)


def _message(error):
    """One line about an exception."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


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


def resolve_device(device=None):
    """The torch device to compute on.

    Parameters
    ----------
    device : str, `torch.device` or None
        None means CUDA if there is one, else the CPU.

    Returns
    -------
    `torch.device`

    Raises
    ------
    RuntimeError
        If CUDA is asked for and there is none.
    ValueError
        If there is no such kind of device.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no such device: {device!r} ({_message(error).split(':')[0]})") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RuntimeError(
                f"device {str(device)!r} was asked for, but this machine has {count} CUDA devices"
            )
    return device


def _exact(device):
    """A context in which convolutions on CUDA are computed in full single precision."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def network_output(network, flux, ivar):
    """Standardise spectra, run a network, and bring its output to the form that `specz_cnn.posterior` takes.

    Parameters
    ----------
    network : `torch.nn.Module`
        From `specz_cnn.load_model`.
    flux, ivar : `~numpy.ndarray` or `torch.Tensor`, shape (n, n_pixels)
        On the network's grid.

    Returns
    -------
    `~numpy.ndarray`, float64
        Logits, shape (n, n_bins + 1); or ln(1 + z) and the standard deviation of its Monte-Carlo samples, shape (n, 2).
    """
    import torch

    from specz_cnn.preprocess import standardise

    device = next(network.parameters()).device
    with torch.inference_mode(), _exact(device):
        # Standardised on the CPU, so that the input of the network is the same to the last bit on every device.
        x = standardise(torch.as_tensor(flux), torch.as_tensor(ivar))
        if device.type == "cuda":
            x = x.pin_memory().to(device, non_blocking=True)
        if network.info.bins is not None:
            return network(x).double().cpu().numpy()
        target = network.info.target
        number, spread = _dropout_samples(network, x)
        mean = number * target["std"] + target["mean"]
        return torch.stack([mean, spread * target["std"]], 1).cpu().numpy()


def _dropout_samples(network, x):
    """Output of a `~specz_cnn.models.RNet` without dropout, and the standard deviation of its outputs with it.

    Every spectrum meets the same fixed set of dropped activations, so that a result depends on nothing but the
    spectrum.
    """
    import torch

    from specz_cnn.models.inference import prepare_for_inference

    if not hasattr(network, "convolutions"):
        network = prepare_for_inference(network)
    activations = network.convolutions(x)
    number = network.head(network.fc1(activations))[:, 0].double()
    rate = network.drop_out.p or _DROPOUT_RATE
    generator = torch.Generator().manual_seed(_DROPOUT_SEED)
    keep = torch.rand(_DROPOUT_SAMPLES, activations.shape[1], generator=generator) >= rate
    masks = (keep / (1 - rate)).to(activations)
    samples = torch.stack([network.head(network.fc1(activations * mask))[:, 0] for mask in masks], 1).double()
    return number, samples.std(1)


@dataclass(frozen=True)
class FitBatch:
    """Results of a batch as columns.

    Parameters
    ----------
    columns : dict of str to `~numpy.ndarray` or list
        One entry for each column of a results table.
    pdf : `~numpy.ndarray` or None
        Shape (n, n_bins); NaN in rows without a result.
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

    Attributes
    ----------
    grid : `~specz_cnn.grid.ModelGrid`
        For `prepare`.
    info : `~specz_cnn.models.ModelInfo`
        Of the model.
    provenance : dict
        Tags and checksums of the models, version of the package, device.

    Raises
    ------
    WeightsError
        If a model cannot be loaded.
    ValueError
        If the two models have different grids.
    RuntimeError
        If CUDA is asked for and there is none.
    """

    def __init__(self, model=None, cross_check="default", device=None):
        from specz_cnn import __version__

        model, cross_check = self._names = default_models(model, cross_check)
        self._insists = device is not None
        self.device = resolve_device(device)
        try:
            self._load()
        except RuntimeError as error:
            if not self._may_leave(self.device):
                raise
            self._leave_device(error)
        self.info, self.grid = self._network.info, self._network.grid
        if self._check is not None and self._check.grid != self.grid:
            raise ValueError(f"{model} and {cross_check} have different wavelength grids")
        check = None if self._check is None else self._check.info
        self.provenance = {
            "model": self.info.tag,
            "model_sha256": self.info.sha256,
            "cross_check": "" if check is None else check.tag,
            "cross_check_sha256": "" if check is None else check.sha256,
            "package": f"specz-cnn {__version__}",
            "device": str(self.device),
        }

    def _load(self):
        from specz_cnn.models.registry import cached_model

        model, cross_check = self._names
        network = cached_model(model, self.device)
        check = None if cross_check is None else cached_model(cross_check, self.device)
        self._network, self._check = network, check

    def _may_leave(self, device):
        return device.type != "cpu" and not self._insists

    def _leave_device(self, error):
        """Go on without a device that fails, which nobody has asked for by name."""
        warnings.warn(
            f"{self.device} failed ({_message(error)[:200]}); continuing on the CPU",
            RuntimeWarning,
            stacklevel=4,
        )
        self.device = resolve_device("cpu")
        self._load()
        if hasattr(self, "provenance"):
            self.provenance["device"] += ", cpu"

    def fit(self, prepared):
        """Measure a batch.

        Parameters
        ----------
        prepared : sequence of Prepared
            On ``grid``.  Memory grows with the length: a few hundred at a time.

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
            flux, ivar = (np.stack([getattr(prepared[i], name) for i in rows]) for name in ("flux", "ivar"))
            first = 0
            for values, found, own in self._measure_in_memory(flux, ivar):
                part = rows[first : first + len(found)]
                first += len(found)
                for name, value in values.items():
                    columns[name][part] = value
                flags[part] |= found
                if pdf is None:
                    pdf, step = np.full((n, own.pdf.shape[1]), np.nan), own.step
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
        columns["error"] = [_writable(error) for error in errors]
        identity = SpectrumArrays(*(np.empty(0),) * 3).identity
        for name, unknown in identity.items():
            columns[name] = [_writable(item.identity.get(name, unknown)) for item in prepared]
        return FitBatch(columns, pdf, step)

    def _measure_in_memory(self, flux, ivar):
        """Results of consecutive parts of a batch: one, or as many as memory asks for."""
        try:
            parts = [self._measure(flux, ivar)]
        except (MemoryError, RuntimeError) as error:
            half = len(flux) // 2 if _is_out_of_memory(error) else 0
            if not half and not self._may_leave(self.device):
                raise
            problem = error
        else:
            return parts
        # Outside the handler: the error holds on to the frames, and with them to the memory, of what failed.
        problem = problem.with_traceback(None)
        if not half:
            self._leave_device(problem)
            return self._measure_in_memory(flux, ivar)
        return [
            part
            for piece in (slice(half), slice(half, None))
            for part in self._measure_in_memory(flux[piece], ivar[piece])
        ]

    def _measure(self, flux, ivar):
        """Results and flags of spectra that have data, and the model's own posterior."""
        own = _posterior(self._network, flux, ivar)
        other = None if self._check is None else _posterior(self._check, flux, ivar)
        number = self.info.bins is None
        agree, check, z_check = None, "", np.full(len(flux), np.nan)
        if other is not None:
            z_check, check = other.z, self._check.info.name
            agree = (np.abs(np.log1p(own.z) - np.log1p(z_check)) < RIGHT).astype(float)
            agree[~np.isfinite(z_check)] = np.nan
        confidence = confidence_of(own.score, self.info.calibration, agree=agree, check=check, number=number)
        p_qso = own.p_qso if other is None or not number else other.p_qso
        values = {name: getattr(own, name) for name in ("z", "z_err", "z_lo", "z_hi", "z_second", "p_second")}
        values |= {"confidence": confidence, "p_qso": p_qso, "z_check": z_check}
        return values, self._flags(own, other, confidence, p_qso, agree), own

    def _flags(self, own, other, confidence, p_qso, agree):
        from specz_cnn.posterior import IDENTITY

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
        # What is called a star has been warned of already; its flags tell whether its lines fit one redshift only.
        sure = np.where(not_quasar, confidence, certainty(confidence, own.p_qso))
        raised = {
            RedshiftFlag.SMALL_DELTA: own.delta < limits["delta"],
            RedshiftFlag.Z_FITLIMIT: at_limit,
            RedshiftFlag.LOW_CONFIDENCE: sure < limits["confidence"],
            RedshiftFlag.NOT_QSO: not_quasar,
            RedshiftFlag.MODELS_DISAGREE: disagree,
        }
        return sum(np.where(where, int(flag), 0) for flag, where in raised.items())

    def _check_confidence(self, other):
        info = self._check.info
        return confidence_of(other.score, info.calibration, number=info.bins is None)


def default_models(model=None, cross_check="default"):
    """The names of the model and of the cross-check (or None), with the settings filled in."""
    from specz_cnn.config import conf

    model = model or conf.default_model
    if cross_check == "default":
        cross_check = conf.default_cross_check or None
        if cross_check == model:
            cross_check = conf.default_model
    return model, None if cross_check == model else cross_check


def _posterior(network, flux, ivar):
    info = network.info
    output = network_output(network, flux, ivar)
    lost = ~np.isfinite(output).all(axis=1)
    output[lost] = 0.0  # one row that went wrong must not take the others with it
    result = posterior(output, bins=info.bins, calibration=info.calibration, z_range=info.z_range)
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
