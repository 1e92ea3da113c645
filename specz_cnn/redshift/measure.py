"""Networks find, eigenspectra measure: p(z) of a network, sharpened by a fit to the spectrum about each of its peaks.

A network says which peak is how probable; chi-squared of a few eigenspectra (`specz_cnn.models.eigenspectra`) says where in
the peak the redshift lies.  About every credible peak, within 3000 km/s,

    p(u) ~ p_net(u)^alpha [(1 - share) L * N(floor) + share L * N(wing)],   L(u) = exp(-chi2(u) / 2T),   u = ln(1 + z),

where ``*`` is a convolution and ``T = temperature * max(1, chi2 / degrees of freedom)``: eigenspectra are never a perfect
model, and what they lack widens the likelihood and leaves a floor.  The sum of p(u) over the peak stays what the network
says.  The numbers are chosen by likelihood on labelled spectra (`specz_cnn.redshift.precision`).

Where a fit knows less than the network, the network's answer stays: few pixels, the highest redshifts, broad absorption.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.eigenspectra import SHIFT, Eigenspectra, read_eigenspectra
from specz_cnn.models.forks import one_thread_in_forks
from specz_cnn.redshift.cells import (
    BINS_PER_SHIFT,
    NATIVE,
    REACH,
    TINY,
    Interval,
    Likelihood,
    at_redshift,
    convolved,
    in_native_bins,
    interval_of,
    log_density,
    normalised,
    peak_probability,
    replace_peak,
)
from specz_cnn.velocity import SPEED_OF_LIGHT

__all__ = [
    "CONVENTIONS",
    "GRID",
    "Measured",
    "Measurement",
    "described",
    "packaged_measurement",
    "systemic_from",
]

#: Which redshift ``z`` is: that of SDSS's pipeline, from all wavelengths, or of its quasar catalogues, without the forest.
CONVENTIONS = ("pipeline", "catalogue")
#: The grid that spectra are fitted on.
GRID = ModelGrid()

_ROWS = 16  # scanned at a time, so that arrays stay in the processor's cache
_LYMAN_ALPHA = 1215.67  # Angstrom; blueward of it lies what no model can foresee
_FOREST_END = 1260.0  # Angstrom: redward wing of Lyman alpha
_FOREST_SEEN = 1.8  # redshift from which on the forest is in view
_TROUGHS = 1400.0, 1535.0  # Angstrom: where the C IV of a wind absorbs
_TROUGH_PIXELS = 7  # 2000 km/s
_OFF = 5.0  # sigma of an outlier, as in SDSS
_MODEL_ERROR = 0.1  # of the fit, relative: what no quasar spectrum of high S/N can be blamed for


@dataclass(frozen=True)
class Measured:
    """What a measurement gives.

    Parameters
    ----------
    own : `~specz_cnn.redshift.posterior.Posterior`
        The network's, with the measured p(z) in bins of `NATIVE`, redshifts and errors, all in the pipeline's frame.
    systemic : dict of str to `~numpy.ndarray`, shape (n,)
        ``z_sys, z_sys_err, z_sys_lo, z_sys_hi``: the redshift in the frame of Mg II's maximum.
    chi2 : `~numpy.ndarray`, shape (n,)
        Reduced chi-squared of the fit at the redshift.
    outliers : `~numpy.ndarray` of bool, shape (n,)
        Whether too many pixels are off by more than 5 sigma.
    by_fit : `~numpy.ndarray` of bool, shape (n,)
        Whether the fit had a say.
    """

    own: object
    systemic: dict
    chi2: np.ndarray
    outliers: np.ndarray
    by_fit: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """How p(z) is measured: eigenspectra, and what their fits are worth.

    Parameters
    ----------
    measuring : Eigenspectra
        A few, whose chi-squared has its minimum at the redshift.
    describing : Eigenspectra
        More of them, which describe the spectrum once the redshift is known.
    model : dict
        For `peak_probability`.
    limits : dict
        ``p_peak``: probability from which on a runner-up is measured.  ``n_pixels`` and ``z_max``: fewer pixels or higher
        redshifts are left to the network, and so are spectra of whose pixels blueward of C IV more than the share
        ``trough`` lie far below the fit.  ``move``: how far the fit may move a redshift from the network's, a function of redshift
        in km/s, with the network's own error in quadrature; one that would go further has followed something else.  ``z_systemic``: redshift from which on the fit, which follows the shifted lines of
        high ionisation, has nothing to say of the systemic redshift.  ``outliers``: share of pixels off by more than 5 sigma that is too many.
    frames : dict
        ``offset`` of systemic redshifts from those of the pipeline and their ``scatter``, functions of redshift in km/s.
        ``doubt``: by how much the pipeline's frame itself is uncertain, at redshifts where no labels say where it lies.
    factor : dict or float, optional
        By which half widths of p(u) are multiplied to hold 68 %, a function of redshift.
    tag : str, optional
        The name of exactly this measurement.
    report : dict, optional
        What it was made from and how good it is; not used.
    """

    measuring: Eigenspectra
    describing: Eigenspectra
    model: dict
    limits: dict
    frames: dict
    factor: dict | float = 1.0
    tag: str = ""
    report: dict = field(default_factory=dict)

    def to(self, device):
        """The same on another device."""
        return replace(self, measuring=self.measuring.to(device), describing=self.describing.to(device))

    def __call__(self, own, flux, ivar, *, convention="pipeline", frame="sdss", with_pdf=True):
        """Measure what a network has found.

        Parameters
        ----------
        own : `~specz_cnn.redshift.posterior.Posterior`
            Of the network.
        flux, ivar : `~numpy.ndarray`, float32, shape (n, n_pixels)
            On `GRID`.
        convention : str, optional
            One of `CONVENTIONS`.
        frame : str, optional
            Of the network's redshift: "sdss" or "systemic".
        with_pdf : bool, optional
            False where nobody will look at p(z): that of the result is left as it is.

        Returns
        -------
        Measured
        """
        n = len(own.z)
        main = np.flatnonzero(np.isfinite(own.z))
        second = np.flatnonzero(own.p_second > self.limits["p_peak"])
        rows, k = np.concatenate([main, second]), len(main)
        u = np.log1p(np.concatenate([own.z[main], own.z_second[second]]))
        found = self.likelihood(
            flux[rows], ivar[rows], u, own.pdf[rows], own.step, convention=convention, frame=frame
        )
        core, p = peak_probability(found, self.model)
        doubt = self._in_velocity("doubt", found.z)
        if (unsure := doubt > 0).any():
            p[unsure] = normalised(convolved(p[unsure], doubt[unsure]))
        fitted = interval_of(p, found.centre).stretched(at_redshift(self.factor, found.z))
        chi2, outliers, trough = self.judge(flux[main], ivar[main], fitted.middle[:k])
        # Of a runner-up nobody asks how well it is described.
        by_fit = ~self.leans(found, np.concatenate([trough, np.zeros(len(second))]))
        expected = u - self._between_frames(np.expm1(u))[0] if frame == "systemic" else u
        # A network that is unsure itself may be moved farther.
        width = np.zeros(len(rows))
        width[:k] = 0.5 * (np.log1p(own.z_hi[main]) - np.log1p(own.z_lo[main]))
        far = np.hypot(at_redshift(self.limits["move"], found.z) / SPEED_OF_LIGHT, width)
        by_fit &= np.abs(fitted.middle - expected) <= far

        best = Interval(*(values[:k] for values in (fitted.low, fitted.middle, fitted.high)))
        network = Interval(*(np.log1p(values[main]) for values in (own.z_lo, own.z, own.z_hi)))
        offset, scatter = self._between_frames(own.z[main])
        if frame == "systemic":
            p_sys = self._systemic(core[:k], found.rows(slice(k)), own.pdf[main], own.step)
            informed = by_fit[:k] & (own.z[main] < self.limits["z_systemic"])
            systemic = interval_of(p_sys, found.centre[:k]).where(informed, network)
            best = best.where(by_fit[:k], network.moved(-offset, scatter))
        else:
            best = best.where(by_fit[:k], network)
            systemic = best.moved(offset, scatter)

        step, pdf = own.step, own.pdf
        if with_pdf:
            moved = offset if frame == "systemic" else np.zeros_like(offset)
            step, pdf = NATIVE, np.full((n, round(own.pdf.shape[1] * own.step / NATIVE)), np.nan)
            pdf[main] = in_native_bins(own.pdf[main], own.step, moved)
            for row, values, centre in zip(rows[by_fit], p[by_fit], found.centre[by_fit], strict=True):
                replace_peak(pdf[row], values, BINS_PER_SHIFT * (centre - REACH))
        z_second = own.z_second.copy()
        z_second[second] = np.where(by_fit[k:], np.expm1(fitted.middle[k:]), z_second[second])
        names = ("z", "z_err", "z_lo", "z_hi")
        values = dict(zip(names, best.columns(main, n), strict=True))
        judged = np.full((2, n), np.nan)
        judged[:, main] = chi2, outliers > self.limits["outliers"]
        used = np.zeros(n, dtype=bool)
        used[main] = by_fit[:k]
        return Measured(
            replace(own, step=step, pdf=pdf, z_second=z_second, **values),
            dict(zip(("z_sys", "z_sys_err", "z_sys_lo", "z_sys_hi"), systemic.columns(main, n), strict=True)),
            judged[0],
            judged[1] == 1,
            used,
        )

    def likelihood(self, flux, ivar, u, pdf, step, *, convention="pipeline", frame="sdss"):
        """Fit about redshifts.

        Parameters
        ----------
        flux, ivar : `~numpy.ndarray`, float32, shape (n, n_pixels)
            On `GRID`.
        u : `~numpy.ndarray`, shape (n,)
            ln(1 + z) to look about.
        pdf : `~numpy.ndarray`, shape (n, n_bins)
            Of the network.
        step : float
            Width of its bins in ln(1 + z).
        convention, frame : str, optional
            As above.

        Returns
        -------
        Likelihood
        """
        z = np.expm1(u)
        centre = np.rint(u / SHIFT).astype(np.int64)
        if convention == "catalogue":
            rest = GRID.wavelength / (1 + z[:, None])
            ivar = np.where((rest > _FOREST_END) | (z[:, None] < _FOREST_SEEN), ivar, 0).astype(np.float32)
        chi2 = np.empty((len(z), 2 * REACH + 1))
        for part in _parts(len(z)):
            data = self._tensors(flux[part], ivar[part], centre[part] - REACH)
            with torch.inference_mode():
                chi2[part] = self.measuring.scan(*data, 2 * REACH + 1, GRID).cpu().numpy()
        freedom = (ivar > 0).sum(1) - self.measuring.n_parameters
        # Damaged pixels may be beyond single precision: such a fit knows nothing, and the network's answer stays.
        lost = ~np.isfinite(chi2).all(1)
        chi2[lost], freedom[lost] = 0.0, -self.measuring.n_parameters
        found = Likelihood(chi2, freedom, centre, np.empty((len(z), 0)))
        if frame == "systemic":
            offset, scatter = self._between_frames(z)
            prior = convolved(np.exp(log_density(pdf, step, found.places + offset[:, None])), scatter)
            prior = np.log(np.maximum(prior, TINY))
        else:
            prior = log_density(pdf, step, found.places)
        return replace(found, prior=prior)

    def judge(self, flux, ivar, u):
        """How well eigenspectra describe spectra at their redshifts.

        Parameters
        ----------
        flux, ivar : `~numpy.ndarray`, float32, shape (n, n_pixels)
        u : `~numpy.ndarray`, shape (n,)
            ln(1 + z).

        Returns
        -------
        chi2, outliers, trough : `~numpy.ndarray`, shape (n,)
            Reduced chi-squared; shares of the pixels redward of Lyman alpha that are off by more than 5 sigma, of the noise
            and a tenth of the flux, and of the spectrum blueward of C IV that lies far below the fit.
        """
        chi2, outliers, trough = np.empty((3, len(u)))
        for part in _parts(len(u)):
            f, w, x = self._tensors(flux[part], ivar[part], u[part])
            with torch.inference_mode():
                model = self.describing.fit(f, w, x, GRID)[0].cpu().numpy()
            w = ivar[part].astype(np.float64)
            pull = (flux[part] - model) * np.sqrt(w)
            n_used = np.maximum((w > 0).sum(1), 1)
            chi2[part] = (pull**2).sum(1) / np.maximum(n_used - self.describing.n_parameters, 1)
            allowed = np.sqrt(1 + w * (_MODEL_ERROR * model) ** 2)
            seen = (w > 0) & (GRID.wavelength > _LYMAN_ALPHA * np.exp(u[part])[:, None])
            far = (np.abs(pull) > _OFF * allowed) & seen
            outliers[part] = far.sum(1) / np.maximum(seen.sum(1), 1)
            trough[part] = _trough(flux[part], w, model, u[part])
        return chi2, outliers, trough

    def model_flux(self, flux, ivar, z, loglam):
        """The fit to one spectrum at a redshift, at any wavelengths.

        Parameters
        ----------
        flux, ivar : `~numpy.ndarray`, float32, shape (n_pixels,)
            On `GRID`.
        z : float
        loglam : `~numpy.ndarray`, shape (n,)
            log10 of the observed wavelength in Angstrom.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            NaN outside the range of the fit.
        """
        u = np.log1p(z)
        with torch.inference_mode():
            _, coefficients = self.describing.fit(*self._tensors(flux[None], ivar[None], np.array([u])), GRID)
        return self.describing.model(coefficients[0].cpu().numpy(), u, loglam, GRID)

    def leans(self, found, trough):
        """Where the network's answer stays: shape (n,)."""
        limits = self.limits
        few = found.freedom + self.measuring.n_parameters < limits["n_pixels"]
        return few | (found.z > limits["z_max"]) | (trough > limits["trough"])

    def _tensors(self, *arrays):
        device = self.measuring.values.device
        return [torch.as_tensor(values).to(device) for values in arrays]

    def _between_frames(self, z):
        """Offset of the systemic frame from the pipeline's and its scatter, in ln(1 + z)."""
        return self._in_velocity("offset", z), self._in_velocity("scatter", z)

    def _in_velocity(self, name, z):
        """One of the functions of `frames`, zero if it is none of them, in ln(1 + z)."""
        return at_redshift(self.frames.get(name, 0.0), z) / SPEED_OF_LIGHT

    def _systemic(self, core, found, pdf, step):
        """p(u) of the systemic redshift, of a network in its frame and the fit, which is given in the pipeline's."""
        offset, scatter = self._between_frames(found.z)
        fitted = np.log(np.maximum(convolved(core, scatter, offset), TINY))
        log_p = fitted + log_density(pdf, step, found.places)
        return normalised(np.exp(log_p - log_p.max(1, keepdims=True)))


def systemic_from(own, frames=None, frame="sdss"):
    """Systemic redshifts of networks that are not measured.

    Parameters
    ----------
    own : `~specz_cnn.redshift.posterior.Posterior`
    frames : dict, optional
        ``Measurement.frames``; without them redshifts and errors stay as they are.
    frame : str, optional
        Of the network's redshift: "sdss" or "systemic".

    Returns
    -------
    dict of str to `~numpy.ndarray`, shape (n,)
    """
    low, middle, high = (np.log1p(values) for values in (own.z_lo, own.z, own.z_hi))
    interval = Interval(low, middle, high)
    if frames is not None and frame == "sdss":
        moves = (at_redshift(frames[name], own.z) / SPEED_OF_LIGHT for name in ("offset", "scatter"))
        interval = interval.moved(*moves)
    names = ("z_sys", "z_sys_err", "z_sys_lo", "z_sys_hi")
    return dict(zip(names, interval.columns(slice(None), len(own.z)), strict=True))


@one_thread_in_forks()
def described(flux, ivar, z, loglam):
    """`Measurement.model_flux` of the measurement of the package."""
    return packaged_measurement().model_flux(flux, ivar, z, loglam)


@cache
def packaged_measurement(device="cpu"):
    """The measurement of the package on a device."""
    if device != "cpu":
        return packaged_measurement().to(device)
    values = json.loads(Path(__file__).with_name("measurement.json").read_text(encoding="utf-8"))
    return Measurement(*read_eigenspectra(Path(__file__).with_name("eigenspectra.npz")), **values)


def _parts(n):
    return [slice(first, first + _ROWS) for first in range(0, n, _ROWS)]


def _trough(flux, ivar, model, u):
    """Share of the spectrum blueward of C IV that lies far below the fit: shape (n,)."""
    reach = _TROUGH_PIXELS // 2
    first = np.searchsorted(GRID.wavelength, _TROUGHS[0] * np.exp(u), side="right")
    last = np.searchsorted(GRID.wavelength, _TROUGHS[1] * np.exp(u), side="left")
    if not (last > first).any():
        return np.zeros(len(u))
    # Each spectrum's own stretch, and what is needed of either side of it.
    place = first[:, None] + np.arange(-reach, (last - first).max() + reach)
    inside = (place >= first[:, None]) & (place < last[:, None])
    rows, column = np.arange(len(u))[:, None], np.clip(place, 0, flux.shape[1] - 1)
    flux, model = flux[rows, column], model[rows, column]
    weight = np.where(inside, ivar[rows, column], 0.0)
    n_seen = place.shape[1] - 2 * reach

    def near(values):
        return sum(values[:, k : k + n_seen] for k in range(_TROUGH_PIXELS))

    total, lacking, expected = near(weight), near(weight * (model - flux)), near(weight * model)
    seen = inside[:, reach : reach + n_seen]
    deep = (lacking > 0.4 * expected) & (lacking > _OFF * np.sqrt(total)) & (total > 0) & seen
    return deep.sum(1) / np.maximum((weight > 0).sum(1), 1)
