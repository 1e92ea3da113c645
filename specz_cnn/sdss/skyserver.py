"""Ask SkyServer a question in SQL, through astroquery, and read the answer without losing a digit."""

from __future__ import annotations

import csv
import re
import threading
import time
from collections import deque

from specz_cnn.config import conf
from specz_cnn.sdss.errors import SDSSError
from specz_cnn.sdss.retry import PASSING_STATUS, backoff, describe

__all__ = ["query_payload", "run_sql"]

# SkyServer allows 60 queries a minute; others may share our address.
_MAX_QUERIES, _PERIOD = 55, 60.0

_RATE_MESSAGE = re.compile(r"maximum \d+ queries", re.IGNORECASE)
_NOTHING = "no objects have been found"

_recent: deque[float] = deque(maxlen=_MAX_QUERIES)
_lock = threading.Lock()


def query_payload(sql, *, data_release=None):
    """What would be sent to SkyServer.

    Parameters
    ----------
    sql : str
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    dict
        Parameters of the request; ``cmd`` holds the SQL.
    """
    from astroquery.sdss import SDSS

    return SDSS.query_sql(sql, data_release=data_release or conf.data_release, get_query_payload=True)


def run_sql(sql, columns, *, data_release=None):
    """Run a query.

    Parameters
    ----------
    sql : str
        Query.
    columns : list of str
        Columns that the answer must have, in any case and order.
    data_release : int, optional
        ``conf.data_release`` if not given.

    Returns
    -------
    list of list of str
        Rows, with the values in the order of `columns`.

    Raises
    ------
    SDSSError
        If the server cannot be reached after ``conf.retries`` further attempts, or refuses the query.
    """
    import requests

    release = data_release or conf.data_release
    base = conf.skyserver_baseurl
    for attempt in range(conf.retries + 1):
        retry_after = None
        _wait_for_turn()
        try:
            response = _request(sql, release, base)
        except (
            requests.Timeout,
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            problem = f"cannot reach SkyServer at {base}: {describe(error)}"
        except requests.RequestException as error:
            raise SDSSError(f"bad request to SkyServer at {base}: {error}") from error
        else:
            if response.status_code == 200 and not _RATE_MESSAGE.search(response.text[:2000]):
                return _parse(response.text, columns, base)
            problem = (
                f"SkyServer at {base} refused the query: HTTP status {response.status_code} {response.reason}"
            )
            if response.status_code not in (*PASSING_STATUS, 200):
                raise SDSSError(f"{problem}: {_readable(response.text)}")
            retry_after = response.headers.get("Retry-After")
            if response.status_code == 200:
                problem = f"SkyServer at {base}: {_readable(response.text)}"
        if attempt < conf.retries:
            time.sleep(backoff(attempt, retry_after))
    raise SDSSError(f"{problem} (attempts: {attempt + 1})")


def _request(sql, release, base):
    """Response of SkyServer to a query.

    The response itself, and not the table that astroquery makes of it: that would be None for no rows, and read an
    error page as data.
    """
    import astroquery.sdss
    from astroquery.sdss import SDSS

    with astroquery.sdss.conf.set_temp("skyserver_baseurl", base.rstrip("/")):
        return SDSS.query_sql_async(sql, data_release=release, timeout=conf.timeout, cache=False)


def _wait_for_turn():
    """Wait until one more query is within the limit."""
    with _lock:
        if len(_recent) == _MAX_QUERIES:
            time.sleep(max(0.0, _recent[0] + _PERIOD - time.monotonic()))
        _recent.append(time.monotonic())


def _parse(text, columns, base):
    """Rows of an answer in CSV, under a line ``#Table1``."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) < 3 and any(_NOTHING in line.lower() for line in lines):
        return []
    rows = list(csv.reader(lines, skipinitialspace=True))
    header = [name.strip().lower() for name in rows[0]] if rows else []
    try:
        order = [header.index(name.lower()) for name in columns]
    except ValueError:
        raise SDSSError(f"SkyServer at {base} did not answer with a table: {_readable(text)}") from None
    if any(len(row) != len(header) for row in rows):
        raise SDSSError(f"SkyServer at {base} broke off its answer: {_readable(text[-200:])}")
    return [[row[position].strip() for position in order] for row in rows[1:]]


def _readable(text):
    """What an error page says, on one line."""
    text = re.sub(r"(?is)<(script|style|head).*?</\1>|<[^>]*>", " ", text)
    text = " ".join(text.split())
    return text[:300] or "an empty answer"
