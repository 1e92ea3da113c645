"""How a redshift is measured: from spectra through networks and posterior to results."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specz_cnn.redshift.fit import fit_redshift_cnn, fit_redshifts_cnn

__all__ = ["fit_redshift_cnn", "fit_redshifts_cnn"]


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        # Calibration and posterior need nothing of what a fit reads with.
        if name in __all__:
            from specz_cnn.redshift import fit

            return getattr(fit, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
