"""Files per second: `specz_cnn.sdss.download_spectra` against one `urllib` request after the other.

A server on the loopback interface, in a process of its own, plays the SDSS archive; it waits before each answer as
long as a distant server takes.  Both fetch the same files in the same run; every one is compared with the original.

    python benchmarks/download.py [--spectra DIR] [--files 300] [--latency 0 0.05 0.15]
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from specz_cnn import conf, write_spec_lite
from specz_cnn.sdss import SpecID, download_spectra

SERVER = Path(__file__).resolve().parents[1] / "tests" / "sdss" / "server.py"


def serve(files, latency, pipe):
    """Serve until told to stop."""
    spec = importlib.util.spec_from_file_location("specz_cnn_loopback_sdss", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving(files, latency=latency) as server:
        pipe.send(server.url)
        pipe.recv()


def make_files(directory, number):
    """Synthetic files of the size of real ones."""
    files = {}
    loglam = 3.55 + 1e-4 * np.arange(4600)
    for fiber in range(1, number + 1):
        path = directory / SpecID(7000, 57061, fiber).filename
        write_spec_lite(path, loglam, np.full(4600, 1.0), np.ones(4600))
        files[path.name] = path.read_bytes()
    return files


def fetch_one_by_one(names, directory):
    """What a short script does."""
    for name in names:
        with urlopen(SpecID.parse(name).lite_url, timeout=60) as response:
            content = response.read()
        (directory / name).write_bytes(content)


def same(paths, files):
    return all(path.read_bytes() == files[path.name] for path in paths)


def measure(files, latency, connections):
    """Files per second of both, and of a second run that finds all files there."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(files, latency, there), daemon=True)
    server.start()
    names = list(files)
    rates = {}
    try:
        with tempfile.TemporaryDirectory() as directory, conf.set_temp("sas_baseurl", here.recv() + "/sas"):
            one_by_one, parallel = Path(directory, "urllib"), Path(directory, "specz-cnn")
            one_by_one.mkdir()
            start = time.perf_counter()
            fetch_one_by_one(names, one_by_one)
            rates["urllib"] = len(names) / (time.perf_counter() - start)
            for key in ("specz-cnn", "again"):
                start = time.perf_counter()
                table = download_spectra(names, parallel, connections=connections, progress=False)
                rates[key] = len(names) / (time.perf_counter() - start)
            assert set(table["status"].tolist()) == {"present"}
            assert same(one_by_one.iterdir(), files) and same(map(Path, table["path"]), files)
    finally:
        here.send("stop")
        server.join()
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spectra", type=Path, help="directory of real files; synthetic ones if not given")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.05, 0.15], help="seconds")
    parser.add_argument("--connections", type=int, default=conf.connections)
    args = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    if args.spectra:
        paths = sorted(args.spectra.glob("spec-*.fits"))[: args.files]
        files = {path.name: path.read_bytes() for path in paths}
    else:
        with tempfile.TemporaryDirectory() as directory:
            files = make_files(Path(directory), args.files)
    size = sum(map(len, files.values())) / len(files) / 1e6
    print(
        f"{len(files)} files of {size:.2f} MB, {args.connections} connections, {os.cpu_count()} cores,",
        end=" ",
    )
    print(f"Python {platform.python_version()}, {platform.system()}")
    print("latency ms   urllib files/s   specz-cnn files/s   ratio   all present files/s")
    for latency in args.latency:
        rates = measure(files, latency, args.connections)
        ratio = rates["specz-cnn"] / rates["urllib"]
        print(
            f"{latency * 1e3:10.0f}   {rates['urllib']:14.1f}   {rates['specz-cnn']:17.1f}   {ratio:5.1f}"
            f"   {rates['again']:19.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
