"""Spectra of the Sloan Digital Sky Survey: find them, name them, fetch them, compare with its quasar catalogue."""

from __future__ import annotations

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
