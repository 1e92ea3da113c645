"""Nothing touches the network when the package is imported or a redshift is measured."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

touched = []

def watch(event, args):
    # Names are looked up, and connections made, through these; a hook cannot be taken off again.
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        touched.append((event, args[1:]))
        raise OSError(f"the network is not to be used: {event} {args[1:]}")

sys.addaudithook(watch)

import specz_cnn
from specz_cnn.cli import main

assert "torch" not in sys.modules and "astroquery" not in sys.modules
assert specz_cnn.list_models()
result = specz_cnn.fit_redshift_cnn(specz_cnn.example_path(), device="cpu")
assert 0 < result.z < 7.1, result
assert len(specz_cnn.fit_redshifts_cnn([specz_cnn.example_path(), specz_cnn.read_spec_lite(specz_cnn.example_path())], device="cpu")) == 2
assert main(["fit", "--example", "--device", "cpu"]) == 0
assert main(["models"]) == 0
assert not touched, touched

import socket
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    pass
assert touched, "the watch itself did not work"
"""


def test_import_and_fit_without_a_network():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stderr
    assert "example-spec.fits" in done.stdout
