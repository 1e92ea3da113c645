"""A server on the loopback interface that plays SkyServer and the science archive of SDSS, with their moods."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# A request longer than this is refused, as IIS does.
MAX_QUERY_STRING = 4096

# SQLite has signed integers of 64 bits, a specObjID needs an unsigned one.
_OFFSET = 1 << 63

_CREATE = (
    "CREATE TABLE SpecObjAll (specObjID INTEGER, plate INTEGER, mjd INTEGER, fiberID INTEGER, run2d TEXT, ra REAL,"
    " dec REAL, z REAL, zErr REAL, class TEXT, subClass TEXT, zWarning INTEGER, snMedian REAL, instrument TEXT,"
    " survey TEXT, sciencePrimary INTEGER)"
)


class LoopbackSDSS(ThreadingHTTPServer):
    """The server.

    Parameters
    ----------
    files : dict
        File name: content.  They are served under any directory that ends in the plate, whatever the reduction,
        unless `only` says otherwise.
    rows : list of dict
        Rows of SpecObjAll.
    latency : float
        Seconds before every answer.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files=None, rows=(), latency=0.0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files or {})
        self.latency = latency
        self.moods = {}  # file name, or "sql": list of moods, one for each request that comes
        self.only = {}  # file name: the reduction under which alone it is there
        self.requests = Counter()
        self.sql = []
        self.lock = threading.Lock()
        self.stalled = threading.Event()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.create_function("separation", 4, _separation_arcmin)
        self._database.execute(_CREATE)
        for row in rows:
            row = row | {"specObjID": row["specObjID"] - _OFFSET}
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            self._database.execute(f"INSERT INTO SpecObjAll ({names}) VALUES ({marks})", list(row.values()))
        self._database.execute("CREATE VIEW SpecObj AS SELECT * FROM SpecObjAll WHERE sciencePrimary = 1")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_mood(self, name):
        with self.lock:
            self.requests[name] += 1
            moods = self.moods.get(name)
            return moods.pop(0) if moods else None

    def answer_sql(self, sql):
        """Answer in SkyServer's CSV; the dialect of SQL Server is translated to that of SQLite."""
        with self.lock:
            self.sql.append(sql)
            top = re.search(r"\bTOP (\d+) ", sql)
            text = sql.replace(top[0], "", 1) + f" LIMIT {top[1]}"
            text = re.sub(r"\b\d{16,20}\b", lambda match: str(int(match[0]) - _OFFSET), text)
            text = re.sub(r"dbo\.fGetNearbySpecObj(All)?Eq\(([^,]+),([^,]+),([^)]+)\)", _nearby, text)
            cursor = self._database.execute(text)
            names = [item[0] for item in cursor.description]
            rows = cursor.fetchall()
        lines = ["#Table1", ",".join(names)]
        for row in rows:
            values = dict(zip(names, row, strict=True))
            values["specObjID"] += _OFFSET
            lines.append(",".join(str(value) for value in values.values()))
        return "\n".join(lines) + "\n"

    def handle_error(self, request, client_address):
        """Clients that go away in the middle are part of the play."""


def _nearby(match):
    table = "SpecObjAll" if match[1] else "SpecObj"
    distance = f"separation(ra, dec, {match[2]}, {match[3]})"
    return f"(SELECT specObjID, {distance} AS distance FROM {table} WHERE {distance} < {match[4]})"


def _separation_arcmin(ra1, dec1, ra2, dec2):
    ra1, dec1, ra2, dec2 = (math.radians(angle) for angle in (ra1, dec1, ra2, dec2))
    half = math.sin((dec1 - dec2) / 2) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin((ra1 - ra2) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(half))) * 60


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # headers and body are two packets; the second must not wait for the answer
    )

    def do_GET(self):
        if self.server.latency:
            time.sleep(self.server.latency)
        parts = urlsplit(self.path)
        if parts.path.endswith("x_results.aspx"):
            self._skyserver(parts.query)
        else:
            self._archive(parts.path)

    def _skyserver(self, query):
        if len(query) > MAX_QUERY_STRING:
            self._send(
                404, b"<html>The length of the query string for this request exceeds the limit.</html>"
            )
            return
        mood = self.server.next_mood("sql")
        if mood == "stall":
            self.server.stalled.wait(20)
            self.close_connection = True
            return
        if isinstance(mood, tuple):
            self._send(mood[0], mood[1].encode(), headers=mood[2] if len(mood) > 2 else {})
            return
        try:
            answer = self.server.answer_sql(parse_qs(query)["cmd"][0].strip())
        except sqlite3.Error as error:
            self._send(500, f"<html><body>SQL error: {error}</body></html>".encode())
            return
        self._send(200, answer.encode())

    def _archive(self, path):
        name = path.rpartition("/")[2]
        content = self.server.files.get(name)
        run2d = self.server.only.get(name)
        if content is None or (run2d is not None and f"/redux/{run2d}/" not in path):
            self.server.next_mood(name)
            self._send(404, b"<html>not found</html>")
            return
        mood = self.server.next_mood(name)
        if mood is None:
            self._send(200, content)
        elif mood == "stall":
            self._send(200, content[: len(content) // 3], length=len(content), close=False)
            self.server.stalled.wait(20)
            self.close_connection = True
        elif mood == "cut":  # the connection breaks
            self._send(200, content[: len(content) // 2], length=len(content))
        elif mood == "short":  # the server says that this is all
            self._send(200, content[: len(content) // 2 // 2880 * 2880])
        elif isinstance(mood, bytes):
            self._send(200, mood)
        elif isinstance(mood, tuple):
            self._send(mood[0], b"busy", headers=mood[1])
        else:
            self._send(mood, b"busy")

    def _send(self, status, body, *, length=None, headers=None, close=True):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if length is not None and close:
            self.close_connection = True

    def log_message(self, *args):
        """Silent."""


@contextmanager
def serving(files=None, rows=(), latency=0.0):
    """Run the server in a thread for as long as the ``with`` block lasts."""
    with LoopbackSDSS(files, rows, latency) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stalled.set()
            server.shutdown()
            thread.join()
            server._database.close()
