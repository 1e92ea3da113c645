"""Correlations of spectra with samples of a lattice at a few consecutive shifts, as products of small matrices.

A pixel sees every second sample of the eigenspectra, so that samples are kept in that order: all even ones, then all odd
ones, the spectra side by side.  The samples that a spectrum meets at one shift are then a piece of memory, and so are those
of all shifts; nothing is copied.

The sum ``s_m = sum_n w_n t_(n + m)`` over some thousand ``n``, wanted for a few ``m``, is cut into blocks: with
``n = a B + b`` it is the sum of ``C_b,(b + m)`` over ``b``, where ``C_bc = sum_a w_(aB + b) t_(aB + c)`` is a product of two
matrices, of half as many operations again as needed, at several times the speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Lattice", "few"]

_BLOCK = 12  # pixels
_MOST = 64  # shifts of either kind, above which Fourier transforms are the faster


def few(n_shifts, stride):
    """Whether there are few enough shifts for a product of matrices."""
    return -(-n_shifts // stride) <= _MOST


@dataclass(frozen=True)
class Lattice:
    """Samples in the order in which pixels see them.

    Parameters
    ----------
    values : `torch.Tensor`, float32, shape (stride, n, n_spectra)
        Every ``stride``-th sample from the first, from the second, ..., with many equal ones at both ends.
    first : int
        The sample that the first pixel sees at shift zero, counted in the order before; shift ``k`` sees ``first - k``.
    lowest, highest : int
        Places beyond these see nothing but the ends.
    n_pixels : int
    """

    values: torch.Tensor
    first: int
    lowest: int
    highest: int
    n_pixels: int

    @classmethod
    def of(cls, values, first, stride, n_pixels):
        """Of samples, shape (n_spectra, n_samples)."""
        ends = stride * (n_pixels + 4 * _MOST)
        n_samples = values.shape[1] + 2 * ends
        index = torch.arange(n_samples - n_samples % stride, device=values.device) - ends
        padded = values[:, index.clamp(0, values.shape[1] - 1)]
        kept = padded.unflatten(1, (-1, stride)).permute(2, 1, 0).contiguous()
        reach = stride * (n_pixels + 2 * _MOST)
        return cls(kept, first + ends, ends - reach, ends + values.shape[1] + _MOST * stride, n_pixels)

    def _place(self, shift, ahead=0):
        """Where the first pixel is at a shift: which kind of samples, and which of them."""
        stride = len(self.values)
        place = min(max(self.first - shift, self.lowest), self.highest) + ahead
        return place % stride, place // stride

    def at(self, shift):
        """What the pixels see at a shift: a view of shape (n_pixels, n_spectra)."""
        kind, place = self._place(shift)
        return self.values[kind, place : place + self.n_pixels]

    def correlate(self, rows, lowest, n_shifts):
        """Sums over pixels of rows times spectra at consecutive shifts.

        Parameters
        ----------
        rows : `torch.Tensor`, float32, shape (batch, n_rows, n_pixels)
        lowest : `torch.Tensor`, int64, shape (batch,)
            The first shift.
        n_shifts : int
            For `few` of them.

        Returns
        -------
        `torch.Tensor`, float32, shape (batch, n_shifts, n_rows, n_spectra)
        """
        batch, k, n_pixels = rows.shape
        stride, _, n = self.values.shape
        each = -(-n_shifts // stride)
        blocks = -(-n_pixels // _BLOCK)
        ahead = (each + _BLOCK - 2) // _BLOCK  # blocks that the shifts reach beyond each
        padded = rows.new_zeros(batch, k, blocks * _BLOCK)
        padded[..., :n_pixels] = rows
        padded = padded.unflatten(2, (blocks, _BLOCK)).transpose(2, 3)
        # A block meets the samples of its own place and of the next ones: as many rows, the later ones moved to the right.
        left = rows.new_zeros(batch, k, _BLOCK, ahead + 1, blocks + ahead)
        for i in range(ahead + 1):
            left[..., i, i : i + blocks] = padded
        left = left.flatten(1, 3)
        out = rows.new_empty(batch, each, stride, k, n)
        size = _BLOCK * n
        product = rows.new_empty(stride, left.shape[1], size)
        row_size = (ahead + 1) * size
        diagonals = product.as_strided(
            (each, stride, k, _BLOCK, n), (n, k * _BLOCK * row_size, _BLOCK * row_size, row_size + n, 1)
        )
        for row, matrix, shift in zip(out, left, lowest.tolist(), strict=True):
            for i in range(stride):
                # The highest shift sees the bluest samples.
                kind, place = self._place(shift + n_shifts - 1, i)
                right = self.values.as_strided((blocks + ahead, size), (size, 1), self._offset(kind, place))
                torch.mm(matrix, right, out=product[i])
            torch.sum(diagonals, 3, out=row)
        return out.flatten(1, 2)[:, :n_shifts].flip(1)

    def _offset(self, kind, place):
        return (kind * self.values.shape[1] + place) * self.values.shape[2]
