"""The engine of every fit: spectra on the model grid in, columns of results out.

Single spectra, tables and surveys all go through `prepare` (cheap, plain numpy, may run in other processes) and
`Fitter.fit` (the networks), so that they agree to the last digit.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from specz_cnn.flags import RedshiftFlag
from specz_cnn.io.arrays import SpectrumArrays
from specz_cnn.posterior import RIGHT, confidence_of, posterior

__all__ = ["FitBatch", "Fitter", "Prepared", "network_output", "prepare", "prepare_path", "resolve_device"]

_C = 299792.458  # km/s
_LITTLE_COVERAGE = 0.5  # of the model grid
_POOR_SNR = 0.3  # median per native SDSS pixel
_LIMIT_MARGIN = 1000.0 / _C  # in ln(1 + z)
_CHECK_CONFIDENCE = 0.5  # a cross-check less confident than this has no say

# Monte-Carlo dropout of networks that return one number.
_DROPOUT_SAMPLES = 16
_DROPOUT_SEED = 20220421
_DROPOUT_RATE = 0.1  # for networks trained without

_RESULTS = ("z", "z_err", "z_lo", "z_hi", "confidence", "p_qso", "z_second", "p_second", "z_check")


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
    except (OSError, ValueError) as error:
        identity = SpectrumArrays(*(np.empty(0),) * 3, file=str(path)).identity
        return Prepared(flags=int(RedshiftFlag.READ_ERROR), error=_message(error), identity=identity)
    return prepare(arrays, grid)


def _message(error):
    """One line about an exception."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


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
        from specz_cnn.models.registry import cached_model

        model, cross_check = default_models(model, cross_check)
        self.device = resolve_device(device)
        self._network = cached_model(model, self.device)
        self._check = None if cross_check is None else cached_model(cross_check, self.device)
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
        columns = {name: np.full(n, np.nan) for name in _RESULTS}
        flags = np.array([item.flags for item in prepared], dtype=np.int64)
        pdf, step = None, np.nan
        if rows.size:
            flux, ivar = (np.stack([getattr(prepared[i], name) for i in rows]) for name in ("flux", "ivar"))
            values, found, own = self._measure(flux, ivar)
            for name, value in values.items():
                columns[name][rows] = value
            flags[rows] |= found
            pdf, step = np.full((n, own.pdf.shape[1]), np.nan), own.step
            pdf[rows] = own.pdf
        columns["snr"] = np.array([item.snr for item in prepared], dtype=np.float64)
        columns["coverage"] = np.array([item.coverage for item in prepared], dtype=np.float64)
        measured = np.isfinite(columns["snr"])
        flags[measured & (columns["coverage"] < _LITTLE_COVERAGE)] |= RedshiftFlag.LITTLE_COVERAGE
        flags[measured & (columns["snr"] < _POOR_SNR)] |= RedshiftFlag.POORDATA
        columns["flags"] = flags
        columns["error"] = [item.error for item in prepared]
        identity = SpectrumArrays(*(np.empty(0),) * 3).identity
        for name, unknown in identity.items():
            columns[name] = [item.identity.get(name, unknown) for item in prepared]
        return FitBatch(columns, pdf, step)

    def _measure(self, flux, ivar):
        """Results and flags of spectra that have data, and the model's own posterior."""
        own = _posterior(self._network, flux, ivar)
        other = None if self._check is None else _posterior(self._check, flux, ivar)
        number = self.info.bins is None
        agree, check, z_check = None, "", np.full(len(flux), np.nan)
        if other is not None:
            z_check, check = other.z, self._check.info.name
            agree = (np.abs(np.log1p(own.z) - np.log1p(z_check)) < RIGHT).astype(float)
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
        raised = {
            RedshiftFlag.SMALL_DELTA: own.delta < limits["delta"],
            RedshiftFlag.Z_FITLIMIT: at_limit,
            RedshiftFlag.LOW_CONFIDENCE: confidence < limits["confidence"],
            RedshiftFlag.NOT_QSO: p_qso < limits["p_qso"],
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
    return posterior(output, bins=info.bins, calibration=info.calibration, z_range=info.z_range)
