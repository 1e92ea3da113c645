"""Losses: cross-entropy over redshift bins, and the regression of ln(1 + z); and the redshifts that outputs stand for."""

from __future__ import annotations

import torch

__all__ = ["ordinal_loss", "point_estimate", "redshift_cross_entropy", "regression_loss"]

_WINDOW = 4  # bins on either side of the truth that receive target probability


def redshift_cross_entropy(logits, z, is_quasar, step, *, width=0.8):
    """Cross-entropy against a narrow Gaussian around the true bin, or against "not a quasar".

    Parameters
    ----------
    logits : `torch.Tensor`, shape (batch, n_bins + 1)
    z : `torch.Tensor`, shape (batch,)
        True redshift.
    is_quasar : `torch.Tensor` of bool, shape (batch,)
    step : float
        Bin width in ln(1 + z).
    width : float
        Standard deviation of the target in bins.

    Returns
    -------
    `torch.Tensor`, shape (batch,)
    """
    n_bins = logits.shape[1] - 1
    log_p = logits.log_softmax(1)
    place = torch.log1p(z.double()).clamp(min=0) / step - 0.5
    offset = torch.arange(-_WINDOW, _WINDOW + 1, device=logits.device)
    bins = place.round().long()[:, None] + offset
    target = torch.exp(-0.5 * ((bins - place[:, None]) / width) ** 2) * ((bins >= 0) & (bins < n_bins))
    target = (target / target.sum(1, keepdim=True).clamp(min=1e-12)).float()
    inside = -(target * log_p.gather(1, bins.clamp(0, n_bins - 1))).sum(1)
    return torch.where(is_quasar, inside, -log_p[:, -1])


def regression_loss(output, z, is_quasar, mean, std):
    """Smooth absolute error of the standardised ln(1 + z); non-quasars do not count.

    Parameters
    ----------
    output : `torch.Tensor`, shape (batch, 1)
    z, is_quasar : `torch.Tensor`, shape (batch,)
    mean, std : float
        Standardisation of ln(1 + z).

    Returns
    -------
    `torch.Tensor`, shape (batch,)
    """
    target = (torch.log1p(z) - mean) / std
    # beta: quadratic within about 0.005 in ln(1 + z), 1500 km/s; beyond, outliers pull with constant force.
    loss = torch.nn.functional.smooth_l1_loss(
        output[:, 0], target.float(), beta=0.005 / std, reduction="none"
    )
    return torch.where(is_quasar, loss, 0.0)


def ordinal_loss(ramps, z, is_quasar, low, high):
    """Squared hinge loss of ordinal questions: is ln(1 + z) above this step?

    Ramp ``j`` should be at most 0 while ln(1 + z) is below step ``j`` of the range, at least 1 when it is above the step,
    and rise in between; what it does beyond 0 and 1 is free, since it will be clipped (ordinal regression: Frank E., Hall
    M. 2001, ECML, 145).

    Parameters
    ----------
    ramps : `torch.Tensor`, shape (batch, n_steps)
        Before clipping.
    z, is_quasar : `torch.Tensor`, shape (batch,)
    low, high : float
        Range of ln(1 + z) that the steps divide.

    Returns
    -------
    `torch.Tensor`, shape (batch,)
    """
    n_steps = ramps.shape[1]
    place = (torch.log1p(z.float()) - low) / (high - low) * n_steps
    target = (place[:, None] - torch.arange(n_steps, device=ramps.device)).clamp(0.0, 1.0)
    miss = torch.where(
        target == 0, ramps.clamp(min=0), torch.where(target == 1, (ramps - 1).clamp(max=0), ramps - target)
    )
    return torch.where(is_quasar, (miss**2).sum(1), 0.0)


def point_estimate(output, step=None, mean=None, std=None):
    """Redshift from a network's output: the mean of p within three bins of its peak, or the number itself."""
    if step is None:
        return torch.expm1(output[:, 0] * std + mean)
    logits = output[:, :-1]
    n_bins = logits.shape[1]
    peak = torch.nn.functional.avg_pool1d(logits.softmax(1)[:, None], 5, 1, 2)[:, 0].argmax(1)
    bins = (peak[:, None] + torch.arange(-4, 5, device=logits.device)).clamp(0, n_bins - 1)
    weight = logits.gather(1, bins).softmax(1)
    return torch.expm1(step * ((weight * bins).sum(1) + 0.5))
