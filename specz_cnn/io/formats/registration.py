"""Our formats for specutils: by their label always, by content for files that no other reader claims.

Imported as soon as specutils is; what its own loaders mask is remembered from then on.
"""

from __future__ import annotations

import os
from functools import lru_cache

from specutils import Spectrum, SpectrumList
from specutils.io.registers import data_loader

from specz_cnn.io.formats import OWN_FORMATS
from specz_cnn.io.formats.claims import unless_claimed
from specz_cnn.io.layout import SpecLiteError, open_spec_lite
from specz_cnn.io.loader_masks import remember_masks

__all__ = ["register"]


def register():
    """Register the formats; again does no harm."""
    for entry in OWN_FORMATS:
        identify = _never if entry.general else unless_claimed(_content_check(entry))
        for cls, load in ((Spectrum, _one_loader(entry)), (SpectrumList, _list_loader(entry))):
            data_loader(
                entry.label,
                identifier=identify,
                dtype=cls,
                extensions=["fits"],
                force=True,
                autogenerate_spectrumlist=False,
            )(load)


def _list_loader(entry):
    def load(file_obj, **kwargs):
        return SpectrumList(_open_and_read(entry, file_obj))

    return load


def _one_loader(entry):
    def load(file_obj, **kwargs):
        spectra = _open_and_read(entry, file_obj)
        if len(spectra) > 1:
            raise ValueError(f"{len(spectra)} spectra in this file: SpectrumList.read reads them")
        return spectra[0]

    return load


def _open_and_read(entry, file_obj):
    with open_spec_lite(file_obj) as hdulist:
        name = file_obj if isinstance(file_obj, str | os.PathLike) else hdulist.filename() or "<open file>"
        return entry.function("read")(hdulist, name)


def _never(*args, **kwargs):
    return False


def _content_check(entry):
    """Whether a file is of a format, and of none before it: identification stays unambiguous."""

    def check(source):
        if isinstance(source, str | os.PathLike):
            state = os.stat(source)
            return _label_of(os.fspath(source), state.st_size, state.st_mtime_ns) == entry.label
        return _label(source) == entry.label

    return check


@lru_cache(maxsize=4)
def _label_of(path, size, changed):
    """As `_label`: found once for all formats, each of which is asked about each file."""
    try:
        return _label(path)
    except SpecLiteError:
        return None


def _label(source):
    """Label of the format of a file; None where it is none of ours."""
    with open_spec_lite(source) as hdulist:
        special = (own for own in OWN_FORMATS if not own.general)
        return next((own.label for own in special if own.function("matches")(hdulist)), None)


register()
remember_masks()
