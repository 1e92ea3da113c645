"""Fetch single files over HTTP, with the patience of the downloader."""

from __future__ import annotations

import time

from specz_cnn.config import conf
from specz_cnn.sdss.retry import PASSING_STATUS, backoff, describe
from specz_cnn.version import __version__

__all__ = ["fetch_file"]

_CHUNK = 1 << 16


def fetch_file(url, *, n_bytes):
    """Content of a URL.

    Parameters
    ----------
    url : str
    n_bytes : int
        How long it is; more is not read.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it cannot be had after ``conf.retries`` further attempts; the message says why.
    """
    for attempt in range(conf.retries + 1):
        try:
            return _attempt(url, n_bytes)
        except _PassingError as error:
            if attempt == conf.retries:
                raise OSError(f"{error} ({url})") from error
            time.sleep(backoff(attempt, error.retry_after))
    raise AssertionError("unreachable")  # pragma: no cover


class _PassingError(OSError):
    """A failure that may pass."""

    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after


def _attempt(url, n_bytes):
    import requests

    headers = {"User-Agent": f"specz-cnn/{__version__}", "Accept-Encoding": "identity"}
    try:
        with requests.get(url, stream=True, timeout=conf.timeout, headers=headers) as response:
            if response.status_code != 200:
                message = f"HTTP status {response.status_code} {response.reason}"
                if response.status_code in PASSING_STATUS:
                    raise _PassingError(message, response.headers.get("Retry-After"))
                raise OSError(f"{message} ({url})")
            content = b""
            for chunk in response.iter_content(_CHUNK):
                content += chunk
                if len(content) > n_bytes:
                    raise OSError(f"longer than the {n_bytes} bytes of the original ({url})")
    except (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _PassingError(describe(error)) from error
    except requests.RequestException as error:
        raise OSError(f"{describe(error)} ({url})") from error
    if len(content) < n_bytes:
        raise _PassingError(f"{len(content)} bytes of {n_bytes}")
    return content
