"""Addresses instead of paths: http, ftp, and whatever fsspec knows (s3, gs, memory ...)."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

__all__ = ["is_address", "local_copy"]

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://")
_BY_ASTROPY = ("http://", "https://", "ftp://")


def is_address(path):
    """Whether a path is an address such as ``https://...`` or ``s3://...``, not a file of this machine."""
    return isinstance(path, str) and bool(_ADDRESS.match(path))


@contextmanager
def local_copy(address):
    """A file of this machine with the content of an address, under its own name.

    Parameters
    ----------
    address : str
        http and ftp are fetched by `astropy.utils.data.download_file`, which keeps them in astropy's cache; all other
        protocols by fsspec, which has to be installed with what the protocol needs.

    Yields
    ------
    str
        Path; gone after the ``with`` block.

    Raises
    ------
    OSError
        If it cannot be fetched.
    ImportError
        If fsspec is needed and not installed.
    """
    name = re.split(r"[?#]", address)[0].rstrip("/").rpartition("/")[2] or "spectrum"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        if address.lower().startswith(_BY_ASTROPY):
            from astropy.utils.data import download_file

            os.symlink(download_file(address, cache=True, show_progress=False), path)
        elif address.lower().startswith("file://"):
            from urllib.request import url2pathname

            os.symlink(url2pathname(address[len("file://") :]), path)
        else:
            try:
                import fsspec
            except ImportError:
                raise ImportError(f"{address}: needs fsspec: pip install fsspec") from None
            try:
                with fsspec.open(address, "rb") as source, open(path, "wb") as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
            except ValueError as error:  # no such protocol
                raise OSError(f"{address}: {error}") from None
        yield str(path)
