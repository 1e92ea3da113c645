"""PCA: the classical redshift, eigenspectra fitted at every redshift of the range.

What surveys do (Bolton A. S. et al. 2012, AJ 144, 144; Lyke B. W. et al. 2020, ApJS 250, 8: ``Z_PIPE``, ``Z_PCA``), with
eigenspectra of our own and chi-squared turned into probabilities: logits ``-chi2 / 2T`` with
``T = temperature * max(1, least chi2 / degrees of freedom)``.  There is nothing to train here; the eigenspectra are learned
by ``specz-cnn eigenspectra``.
"""

from __future__ import annotations

import torch
from torch import nn

from specz_cnn.models.eigenspectra import SAMPLE, Transforms, chi2_of
from specz_cnn.models.network import Network, architecture

__all__ = ["PCA"]

_N_POLYNOMIAL = 3


@architecture
class PCA(Network):
    """Eigenspectra and a quadratic polynomial, at every redshift.

    Parameters
    ----------
    n_pixels : int
        Length of the input; the pixel is also the redshift bin, in ln(1 + z).
    n_bins : int
        Number of redshift bins, starting at z = 0.
    n_spectra : int
    first : int
        Pixels from the first of the eigenspectra to the first of the grid, in the rest frame of the first bin.
    """

    preprocess_version = 1

    def __init__(self, n_pixels=1212, n_bins=2272, n_spectra=8, first=2270):
        super().__init__()
        self.n_pixels, self.n_bins, self.first = n_pixels, n_bins, first
        self.spectra = nn.Parameter(torch.zeros(n_spectra, first + n_pixels), requires_grad=False)
        self.register_buffer("prior", torch.zeros(n_spectra))
        self.register_buffer("temperature", torch.ones(1))
        self._transforms = None

    @classmethod
    def of(cls, eigenspectra, grid, n_bins, temperature=4.0):
        """From eigenspectra.

        Parameters
        ----------
        eigenspectra : `~specz_cnn.models.eigenspectra.Eigenspectra`
            On the lattice of the grid.
        grid : `~specz_cnn.io.grid.ModelGrid`
        n_bins : int
        temperature : float, optional

        Returns
        -------
        PCA
        """
        stride = grid.factor // SAMPLE
        # Half a pixel to the blue of the pixels of the grid lies the middle of the first bin of redshift.
        place = round((grid.start + 0.5 * (grid.factor - 1) - eigenspectra.start) / SAMPLE) - stride // 2
        first, phase = divmod(place, stride)
        values = eigenspectra.values[:, phase::stride]
        missing = first + grid.n_pixels - values.shape[1]
        if missing > 0:
            values = torch.cat([values, values[:, -1:].expand(-1, missing)], 1)
        network = cls(grid.n_pixels, n_bins, len(values), first)
        network.spectra.data.copy_(values[:, : first + grid.n_pixels])
        network.prior.copy_(eigenspectra.prior)
        network.temperature.fill_(temperature)
        return network.eval()

    @staticmethod
    def preprocess(flux, ivar):
        """Flux and inverse variance in units of the mean flux: shape (batch, 2, n_pixels)."""
        flux, ivar = torch.as_tensor(flux), torch.as_tensor(ivar)
        root = ivar.double().sqrt()
        scale = (root * flux.abs()).sum(1, keepdim=True) / root.sum(1, keepdim=True).clamp(min=1e-300)
        scale = scale.clamp(min=1e-30)
        return torch.stack([flux / scale, ivar * scale**2], 1).float()

    @staticmethod
    def read(network, x):
        """Logits: see `Network.read`."""
        return network(x)

    def forward(self, x):
        """Logits of the redshift bins and, last, of a polynomial alone.

        Parameters
        ----------
        x : `torch.Tensor`, shape (batch, 2, n_pixels)
            From `preprocess`.

        Returns
        -------
        `torch.Tensor`, float64, shape (batch, n_bins + 1)
        """
        flux, ivar = x[:, 0], x[:, 1]
        # A row at a time: the normal equations of all redshifts fill the processor's cache.
        chi2 = torch.cat([self._chi2(f, w) for f, w in zip(flux.split(1), ivar.split(1), strict=True)])
        used = (ivar > 0).sum(1, keepdim=True)
        least = chi2[:, :-1].amin(1, keepdim=True)
        freedom = (used - len(self.prior) - _N_POLYNOMIAL).clamp(min=1)
        temperature = self.temperature.double() * (least / freedom).clamp(min=1)
        return -0.5 * (chi2 - least) / temperature

    def _chi2(self, flux, ivar):
        transforms = self._of_all_redshifts()
        quasar = chi2_of(flux, ivar, transforms, self.prior, self.n_bins, 1)
        nothing = chi2_of(
            flux,
            ivar,
            Transforms.of(torch.zeros_like(self.spectra[None, :1, : self.n_pixels])),
            self.prior[:1] + 1,
            1,
            1,
        )
        return torch.cat([quasar, nothing], 1)

    def _of_all_redshifts(self):
        if self._transforms is None or self._transforms.spectra.device != self.spectra.device:
            # Bluer than all eigenspectra: the last value.
            blue = max(self.n_bins - 1 - self.first, 0)
            low = max(self.first - (self.n_bins - 1), 0)
            values = nn.functional.pad(self.spectra[None, :, low:], (blue, 0), mode="replicate")
            self._transforms = Transforms.of(values)
        return self._transforms
