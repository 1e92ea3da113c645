"""Manners towards other readers of specutils: ours claim only files that nobody else claims."""

from __future__ import annotations

from threading import local

from astropy.io import registry

__all__ = ["being_asked", "claims", "others_claim", "unless_claimed"]

_asking = local()


def claims(identifier, *args, **kwargs):
    """What specutils makes of an identifier: an exception means no."""
    try:
        return bool(identifier(*args, **kwargs))
    except Exception:  # noqa: BLE001  (foreign code, and what specutils does with it)
        return False


def being_asked():
    """Whether other readers are being asked: then ours keep still."""
    return getattr(_asking, "others", False)


def others_claim(origin, args, kwargs):
    """Whether a reader other than ours claims a file."""
    from specutils import Spectrum, SpectrumList

    _asking.others = True
    try:
        path, fileobj, *rest = args
        return any(
            registry.identify_format(origin, cls, path, fileobj, rest, kwargs)
            for cls in (Spectrum, SpectrumList)
        )
    finally:
        _asking.others = False


def unless_claimed(check):
    """An identifier for specutils from a check of the content.

    Parameters
    ----------
    check : callable
        Takes a path, an open file or an HDUList, and says whether it is of a format.

    Returns
    -------
    callable
        True where the check is, and no reader of somebody else claims the file.
    """

    def identify(origin, *args, **kwargs):
        if origin != "read" or being_asked():
            return False
        path, fileobj, *rest = args
        source = rest[0] if rest else (fileobj if fileobj is not None else path)
        try:
            if not claims(check, source):
                return False
        finally:
            if hasattr(source, "seek"):
                source.seek(0)
        return not others_claim(origin, args, kwargs)

    return identify
