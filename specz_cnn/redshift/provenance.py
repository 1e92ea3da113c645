"""What a redshift was measured with: the same words for single spectra, tables and surveys."""

from __future__ import annotations

from specz_cnn.version import __version__

__all__ = ["PROVENANCE", "provenance_of"]

#: Keys of a provenance, in order; ``input`` is added where something was done to spectra when they were read.
PROVENANCE = ("model", "model_sha256", "cross_check", "cross_check_sha256", "measurement", "convention")
PROVENANCE += ("package", "device")


def provenance_of(info, check, *, measure, convention, device):
    """Tags and checksums of the models, the measurement, the version of the package, and the device.

    Parameters
    ----------
    info : `~specz_cnn.models.ModelInfo`
        Of the model.
    check : `~specz_cnn.models.ModelInfo` or None
        Of the cross-check.
    measure : bool
    convention : str
    device : str or `torch.device`

    Returns
    -------
    dict
        With the keys `PROVENANCE`; ``measurement`` and ``convention`` are empty where nothing is fitted.
    """
    from specz_cnn.redshift.measure import packaged_measurement  # imports torch, which takes a second

    measured = measure and info.bins is not None
    values = (
        info.tag,
        info.sha256,
        "" if check is None else check.tag,
        "" if check is None else check.sha256,
        packaged_measurement().tag if measured else "",
        convention if measured else "",
        f"specz-cnn {__version__}",
        str(device),
    )
    return dict(zip(PROVENANCE, values, strict=True))
