"""Damaged and hostile files end in a message, in a moment, without memory beyond what they hold."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import re
import socket
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from specz_cnn import RedshiftFlag, SpectrumArrays, fit_redshifts_cnn, read_spec_lite
from specz_cnn.io import SpecLiteError, opening, read_arrays, read_arrays_astropy
from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import prepare_file
from specz_cnn.simulate.parametric import example_spectrum

BLOCK = 2880
NAME = "spec-7276-57061-0470.fits"
READERS = (read_arrays, read_arrays_astropy, read_spec_lite)


def load_fuzz():
    """The fuzz benchmark as a module: its mutations serve here as well."""
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
    specification = importlib.util.spec_from_file_location("specz_cnn_fuzz", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["specz_cnn_fuzz"] = module
    specification.loader.exec_module(module)
    return module


fuzz = load_fuzz()


def refused(path, match=""):
    """All readers refuse the file, with its name and a reason."""
    for read in READERS:
        with pytest.raises(SpecLiteError, match=f"(?is){re.escape(path.name)}.*{match}"):
            read(path)


@pytest.fixture
def file(tmp_path, spec_bytes):
    """A copy of a synthetic file that may be damaged."""
    path = tmp_path / NAME
    path.write_bytes(spec_bytes)
    return path


def lie(data, keyword, value, hdu):
    """Change a number in the header of an HDU."""
    position = [match.start() for match in re.finditer(b"SIMPLE  =|XTENSION=", data)][hdu]
    position = data.index(keyword.encode().ljust(8) + b"= ", position)
    card = f"{keyword:<8}= {value:>20}".ljust(80)[:80].encode()
    return data[:position] + card + data[position + 80 :]


def test_truncated_at_every_block(spectrum_paths, tmp_path):
    """What is left of a real file is refused, or is the same spectrum: never half of it."""
    for original in spectrum_paths[:: len(spectrum_paths) // 3][:3]:
        whole, data = read_arrays(original), original.read_bytes()
        path = tmp_path / original.name
        n_read = 0
        for n_blocks in range(len(data) // BLOCK):
            path.write_bytes(data[: n_blocks * BLOCK])
            try:
                arrays = read_arrays(path)
            except SpecLiteError as error:
                assert str(path) in str(error)
            else:
                n_read += 1
                assert arrays.flux.tobytes() == whole.flux.tobytes()
        assert n_read < 0.8 * len(data) / BLOCK


def test_loader_and_fit_of_truncated_files(spec_bytes, tmp_path):
    paths = []
    for n_blocks in range(0, len(spec_bytes) // BLOCK, 2):
        paths.append(tmp_path / f"spec-7276-57061-{n_blocks:04d}.fits")
        paths[-1].write_bytes(spec_bytes[: n_blocks * BLOCK])
    table = fit_redshifts_cnn(paths, device="cpu")
    assert len(table) == len(paths)
    failed = (table["flags"] & int(RedshiftFlag.READ_ERROR)) != 0
    assert failed[0] and np.isnan(table["z"][failed]).all() and (table["error"][failed] != "").all()
    for path, bad in zip(paths, failed, strict=True):
        if bad:
            with pytest.raises(SpecLiteError):
                read_spec_lite(path)


def test_a_slice_of_the_fuzz_run(spectrum_paths, spec_bytes, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(spec_bytes)
    result = fuzz.fuzz([path, *spectrum_paths[::40]], 300, seed=7, limit_memory=False)
    assert result["failures"] == []
    total = sum(result["counts"].values(), start=type(result["counts"]["truncate"])())
    assert total.total() == 300 and total["read"] > 20 and total["refused"] > 20
    assert result["peak"] < 300 * 2**20


@pytest.mark.parametrize("hdu", [0, 1, 2])
@pytest.mark.parametrize("value", [0, -1, -20000, 3, 2**31, 2**62, 10**19, "T", "1e30", ""])
@pytest.mark.parametrize("keyword", ["NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "BITPIX"])
def test_headers_that_lie_about_sizes(file, spec_bytes, keyword, value, hdu):
    if hdu == 0 and keyword not in ("NAXIS", "BITPIX"):
        keyword = "NAXIS"
    file.write_bytes(lie(spec_bytes, keyword, value, hdu))
    tracemalloc.start()
    try:
        arrays = read_arrays(file)
    except SpecLiteError:
        pass
    else:
        fuzz.check_arrays(arrays, len(spec_bytes))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50 * len(spec_bytes) + 2**23


@pytest.mark.parametrize("axes", [[2**31], [2**40, 2**40], [65536] * 4, [1] * 999])
def test_image_of_absurd_size_before_the_spectrum(tmp_path, spec_bytes, axes):
    cards = ["XTENSION= 'IMAGE   '", f"BITPIX  = {-64:>20}", f"NAXIS   = {len(axes):>20}"]
    cards += [f"NAXIS{i + 1:<3}= {n:>20}" for i, n in enumerate(axes)]
    cards += [f"PCOUNT  = {0:>20}", f"GCOUNT  = {1:>20}", "END"]
    header = "".join(card.ljust(80) for card in cards).encode()
    header += b" " * (-len(header) % BLOCK)
    first = spec_bytes.index(b"XTENSION")
    path = tmp_path / NAME
    path.write_bytes(spec_bytes[:first] + header + spec_bytes[first:])
    tracemalloc.start()
    try:
        with pytest.raises(SpecLiteError):
            read_arrays(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("missing", ["flux", "loglam", "ivar"])
def test_missing_columns(file, missing):
    with fits.open(file, memmap=False) as hdulist:
        columns = [column for column in hdulist[1].columns if column.name.lower() != missing]
        coadd = fits.BinTableHDU.from_columns(columns, name="COADD")
        fits.HDUList([hdulist[0].copy(), coadd, hdulist[2].copy()]).writeto(file, overwrite=True)
    refused(file, "no table with columns flux, loglam and ivar")


def test_missing_tables(file, spec_bytes):
    first, second = (match.start() for match in list(re.finditer(b"XTENSION=", spec_bytes))[:2])
    file.write_bytes(spec_bytes[:first])
    refused(file, "no table with columns")
    file.write_bytes(spec_bytes[:second])
    assert len(read_arrays(file)) == 300 and np.isnan(read_arrays(file).z_pipe)


@pytest.mark.parametrize("form", ["1A", "0E", "2E", "X", "PE(10)", "QE(10)", "999999999E", "Z", "", "-1E"])
def test_columns_of_another_type(file, spec_bytes, form):
    position = spec_bytes.index(b"TFORM1  = ")
    card = f"TFORM1  = '{form:<8}'".ljust(80)[:80].encode()
    file.write_bytes(spec_bytes[:position] + card + spec_bytes[position + 80 :])
    refused(file)


class TestCompressed:
    def test_read(self, file, spec_bytes):
        plain = read_arrays(file)
        file.write_bytes(gzip.compress(spec_bytes))
        assert read_arrays(file).flux.tobytes() == plain.flux.tobytes()
        assert read_spec_lite(file).flux.size == 300

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6])
    def test_truncated(self, file, spec_bytes, share):
        data = gzip.compress(spec_bytes)
        file.write_bytes(data[: 10 + int(share * len(data))])
        refused(file)

    def test_bomb(self, file, spec_bytes):
        """A few kilobytes that say they are a table of three gigabytes, and would be."""
        n_rows = 10**8
        data = lie(spec_bytes, "NAXIS2", n_rows, 1)
        start = data.index(b"XTENSION") + 2 * BLOCK
        file.write_bytes(gzip.compress(data[:start] + bytes(10_000_000)))
        assert file.stat().st_size < 100_000
        tracemalloc.start()
        try:
            refused(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2**28


class TestNoFiles:
    """Paths that lead to something else than a file of bytes."""

    def test_empty(self, tmp_path):
        path = tmp_path / NAME
        path.touch()
        refused(path, "empty")

    def test_directory(self, tmp_path):
        path = tmp_path / NAME
        path.mkdir()
        refused(path, "directory")

    def test_loop_of_links(self, tmp_path):
        path = tmp_path / NAME
        path.symlink_to(path)
        refused(path, "symbolic link")

    def test_dangling_link(self, tmp_path):
        path = tmp_path / NAME
        path.symlink_to(tmp_path / "none")
        for read in READERS:
            with pytest.raises(FileNotFoundError):
                read(path)

    def test_pipe_that_nobody_writes_to(self, tmp_path):
        path = tmp_path / NAME
        os.mkfifo(path)
        done = threading.Event()

        def check():
            refused(path, "not a regular file")
            done.set()

        thread = threading.Thread(target=check, daemon=True)  # else a hang would hold up the tests for ever
        thread.start()
        assert done.wait(120)

    def test_socket(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # the names of sockets are short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.fits")
            refused(Path("s.fits"), "not a regular file")

    @pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
    def test_device_without_end(self):
        refused(Path("/dev/zero"), "not a regular file")

    def test_no_permission(self, file):
        file.chmod(0)
        fitter = Fitter(
            device="cpu"
        )  # the user "nobody" may not be allowed to read the weights, nor the modules to be imported
        fitter.fit([prepare_file(file, fitter.grid)[0]])
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything; the user "nobody" may not
        try:
            refused(file, "permission denied")
            columns = fitter.fit([prepare_file(file, fitter.grid)[0]]).columns
            assert columns["flags"][0] == int(RedshiftFlag.READ_ERROR)
        finally:
            os.seteuid(user)

    def test_name_that_is_no_name(self, tmp_path):
        table = fit_redshifts_cnn(
            ["a\0b.fits", "x" * 5000 + ".fits", "http://localhost/spec.fits"], device="cpu"
        )
        assert (table["flags"] == int(RedshiftFlag.READ_ERROR)).all() and (table["error"] != "").all()
        assert table["file"][0] == r"a\x00b.fits"

    def test_table_of_them_all(self, tmp_path, file):
        (tmp_path / "loop.fits").symlink_to(tmp_path / "loop.fits")
        os.mkfifo(tmp_path / "pipe.fits")
        (tmp_path / "empty.fits").touch()
        paths = [
            file,
            *(tmp_path / f"{name}.fits" for name in ("loop", "pipe", "empty", "none")),
            tmp_path,
            file,
        ]
        table = fit_redshifts_cnn(paths, device="cpu")
        assert (table["flags"][1:-1] == int(RedshiftFlag.READ_ERROR)).all()
        assert table["file"].tolist() == [str(path) for path in paths]
        assert table["error"][[0, -1]].tolist() == ["", ""] and table["z"][0] == table["z"][-1]


@pytest.mark.parametrize("value", [1e300, -1e300, np.inf, np.nan, 2.0**31])
def test_catalogue_rows_with_absurd_numbers(file, value):
    """Integers come out of floating point columns in damaged files; no table could hold these."""
    with fits.open(file, memmap=False) as hdulist:
        columns = [
            fits.Column(name=c.name, format="D", array=[value])
            if c.name.lower() in ("plate", "mjd", "fiberid", "zwarning", "z", "plug_ra")
            else c
            for c in hdulist[2].columns
        ]
        row = fits.BinTableHDU.from_columns(columns, name="SPECOBJ")
        fits.HDUList([hdulist[0].copy(), hdulist[1].copy(), row]).writeto(file, overwrite=True)
    arrays = read_arrays(file)
    assert (arrays.plate, arrays.mjd, arrays.fiber, arrays.zwarning_pipe) == (7276, 57061, 470, -1)
    assert len(fit_redshifts_cnn([file], device="cpu")) == 1


@pytest.mark.parametrize("card", ["PLATEID =  1E999", "PLATEID = 9999999999999999999999", "MJD     = 1D300"])
def test_absurd_numbers_in_the_primary_header(file, spec_bytes, card):
    keyword = card[:8].encode()
    position = spec_bytes.index(keyword + b"= ")
    data = spec_bytes[:position] + card.ljust(80).encode() + spec_bytes[position + 80 :]
    file.write_bytes(data)
    for pipeline in (True, False):
        arrays = read_arrays(file, pipeline=pipeline)
        assert (arrays.plate, arrays.mjd) == (7276, 57061)


# Damaged pixels in a clear spectrum.


def damaged(kind, seed):
    """The flux and inverse variance of a clear quasar with a share of the pixels damaged."""
    rng = np.random.default_rng(seed)
    arrays = example_spectrum(2.4, snr=10, seed=seed)
    flux, ivar = arrays.flux.copy(), arrays.ivar.copy()
    where = rng.random(flux.size) < 10 ** rng.uniform(-3.5, -0.5)
    start = int(rng.integers(0, flux.size))
    run = slice(start, start + int(rng.integers(10, 2000)))
    if kind == "bits":
        flux = np.where(
            where, (flux.view("u4") ^ (1 << rng.integers(0, 32, flux.size, "u4"))).view("f4"), flux
        )
    elif kind == "ivar bits":
        ivar = np.where(
            where, (ivar.view("u4") ^ (1 << rng.integers(0, 32, flux.size, "u4"))).view("f4"), ivar
        )
    elif kind == "zeros":
        flux[run] = 0
    elif kind == "huge":
        flux[where] = rng.choice([1e4, -1e4, 1e10, 1e30, -3e38], where.sum())
    elif kind == "swapped":
        flux[run] = flux[run].byteswap()
    elif kind == "shuffled":
        flux[run] = rng.permutation(flux[run])
    return arrays.loglam, flux, ivar


def test_damaged_pixels_never_give_a_confident_wrong_redshift():
    spectra = [
        SpectrumArrays(*damaged(kind, seed))
        for kind in ("bits", "ivar bits", "zeros", "huge", "swapped", "shuffled")
        for seed in range(8)
    ]
    table = fit_redshifts_cnn(spectra, device="cpu")
    confident = table["flags"] == 0
    assert confident.sum() > 10  # most damage is harmless
    assert (np.abs(np.log1p(table["z"][confident]) - np.log(3.4)) < 0.01).all()


@pytest.mark.parametrize("keyword", ["SIMPLE", "NAXIS2"])
def test_compressed_headers_that_lead_in_circles(tmp_path, file, keyword):
    """An HDU that astropy cannot make sense of in a compressed file sends it back to the first one."""
    data = file.read_bytes()
    place = data.index(keyword.ljust(8).encode() + b"= ") + 12
    path = tmp_path / file.name
    path.write_bytes(gzip.compress(data[:place] + b"\0" + data[place + 1 :]))
    refused(path, "")


def test_streams_can_be_read_a_few_times_but_not_for_ever(file):
    with (
        opening._BoundedReader(io.FileIO(file), file.stat().st_size) as stream,
        pytest.raises(ValueError, match="in circles"),
    ):
        for _ in range(5):
            assert stream.read() == file.read_bytes()
            stream.seek(0)
        for _ in range(100_000):
            stream.seek(0)
            stream.read(2880)
