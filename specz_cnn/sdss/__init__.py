"""Spectra of the Sloan Digital Sky Survey: find them, name them, fetch them, compare with its quasar catalogue."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specz_cnn.sdss.archive import lite_path
    from specz_cnn.sdss.crossmatch import crossmatch_dr16q
    from specz_cnn.sdss.download import download_spectra
    from specz_cnn.sdss.errors import SDSSError, SDSSWarning
    from specz_cnn.sdss.ids import SpecID, as_specids, decode_specobjid, encode_specobjid, spec_lite_url
    from specz_cnn.sdss.integrity import check_spec_lite
    from specz_cnn.sdss.search import search_spectra
    from specz_cnn.sdss.spectra import get_spectra
    from specz_cnn.sdss.urllist import write_rsync_list, write_url_list

__all__ = [
    "SDSSError",
    "SDSSWarning",
    "SpecID",
    "as_specids",
    "check_spec_lite",
    "crossmatch_dr16q",
    "decode_specobjid",
    "download_spectra",
    "encode_specobjid",
    "get_spectra",
    "lite_path",
    "search_spectra",
    "spec_lite_url",
    "write_rsync_list",
    "write_url_list",
]

# Each is imported when it is used: positions and HTTP take a second to import.
_LAZY = {
    "SDSSError": "errors",
    "SDSSWarning": "errors",
    "SpecID": "ids",
    "as_specids": "ids",
    "check_spec_lite": "integrity",
    "crossmatch_dr16q": "crossmatch",
    "decode_specobjid": "ids",
    "download_spectra": "download",
    "encode_specobjid": "ids",
    "get_spectra": "spectra",
    "lite_path": "archive",
    "search_spectra": "search",
    "spec_lite_url": "ids",
    "write_rsync_list": "urllist",
    "write_url_list": "urllist",
}


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name in _LAZY:
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
