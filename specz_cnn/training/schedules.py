"""How the learning rate goes: in cycles, or down a step whenever the validation loss rests."""

from __future__ import annotations

import math

__all__ = ["Cycles", "Plateau"]


class Cycles:
    """A linear rise and the fall of a cosine, known beforehand.

    Parameters
    ----------
    rate : float
        At the peak.
    steps : int
        Length of the cycle.
    warmup : float
        Share of the steps over which the rate rises.
    cycles : sequence of (int, int), optional
        ``(first step, length)``: from that step on the rate follows a cycle of that length instead of one of ``steps``.
    """

    #: Nothing has to be kept in a checkpoint.
    state = ()

    def __init__(self, rate, steps, warmup=0.1, cycles=()):
        self.peak, self.steps, self.warmup, self.cycles = rate, steps, warmup, list(cycles)

    def rate(self, step):
        """Learning rate of a step."""
        length = next((n for first, n in reversed(self.cycles) if step >= first), self.steps)
        rise = max(1.0, self.warmup * length)
        if step < rise:
            return self.peak * (step + 1) / rise
        return self.peak * (0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1.0, length - rise))) + 1e-6

    def look(self, loss):
        """The validation loss changes nothing."""


class Plateau:
    """A rate that stays until the validation loss gets no lower, and then falls by a factor.

    Parameters
    ----------
    rate : float
        At the beginning.
    factor : float
        By which the rate is multiplied, less than one.
    patience : int
        Looks without a lower loss that are borne; at the next the rate falls.
    threshold : float
        A loss counts as lower if it is so by more than this share.
    """

    def __init__(self, rate, factor=0.1, patience=10, threshold=1e-4):
        if not 0 < factor < 1:
            raise ValueError(f"the factor of a plateau must be between 0 and 1, not {factor}")
        self.first, self.factor, self.patience, self.threshold = rate, factor, patience, threshold
        self._falls, self._best, self._waited = 0, math.inf, 0

    @property
    def state(self):
        """Falls so far, lowest loss, looks since then: for a checkpoint."""
        return self._falls, self._best, self._waited

    @state.setter
    def state(self, values):
        self._falls, self._best, self._waited = values

    def rate(self, step):
        """Learning rate now."""
        return self.first * self.factor**self._falls

    def look(self, loss):
        """Take note of a validation loss."""
        if loss < self._best * (1 - self.threshold):
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._falls, self._waited = self._falls + 1, 0
