"""When to ask a server again, and after how long.

Not by `urllib3.util.Retry`: that knows requests, and here a file is asked for again whose content broke off, does not have the
size that was announced or is no FITS file; it obeys ``Retry-After`` however long that is; and its waiting cannot be cut
short when another connection has found the server dead.
"""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

__all__ = ["PASSING_STATUS", "backoff", "describe"]

#: HTTP status codes of temporary failures: time-out, rate limit, and servers overloaded or being restarted.
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

# Seconds before the first and between later attempts.
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0


def backoff(attempt, retry_after=None):
    """Seconds to wait after a failed attempt.

    Doubles with each attempt, and is drawn at random from the upper half, so that parallel connections do not all
    come back at once.

    Parameters
    ----------
    attempt : int
        0 after the first attempt.
    retry_after : str, optional
        The server's header ``Retry-After``: seconds or a date.  It counts if it asks for more.

    Returns
    -------
    float
        Never above a minute.
    """
    delay = min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY) * random.uniform(0.5, 1.0)
    return min(max(delay, _seconds(retry_after)), _LONGEST_DELAY)


def _seconds(retry_after):
    text = (retry_after or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def describe(error):
    """One line about a failed request, for people.

    Parameters
    ----------
    error : `requests.RequestException`

    Returns
    -------
    str
    """
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection: timed out"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return "timed out"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection: the certificate of the server is not accepted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection: " + _innermost(error)
    return str(error) or type(error).__name__


def _innermost(error):
    """The reason at the bottom of a chain of exceptions, such as "Connection refused"."""
    reason = error
    for _ in range(8):
        deeper = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        if not isinstance(deeper, Exception):
            break
        reason = deeper
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
