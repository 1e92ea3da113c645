"""Faults of the machine while redshifts are measured: rows before, rows after.

Those of surveys (killed runs, lost workers, full disks) are in ``tests/survey``.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from astropy.table import QTable

from specz_cnn import RedshiftFlag, example_path, fit_redshifts_cnn, write_spec_lite
from specz_cnn.cli import main
from specz_cnn.models.network import Network
from specz_cnn.redshift import fitter as fitter_module
from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import prepare, prepare_file
from specz_cnn.results import write_table
from specz_cnn.simulate.parametric import example_spectrum

SPEED_OF_LIGHT = 299792.458  # km/s


@pytest.fixture(scope="module")
def fitter():
    return Fitter(device="cpu")


@pytest.fixture(scope="module")
def prepared(fitter):
    """Eleven spectra; one is bad."""
    spectra = [prepare(example_spectrum(1.5 + 0.2 * i, snr=8, seed=i), fitter.grid) for i in range(11)]
    spectra[4] = prepare_file("none.fits", fitter.grid)[0]
    return spectra


@pytest.fixture(scope="module")
def undisturbed(fitter, prepared):
    """Columns of the same spectra without any fault."""
    return fitter.fit(prepared)


@pytest.fixture(scope="module")
def table():
    """A table of results."""
    return fit_redshifts_cnn([example_path()] * 3, device="cpu")


def assert_same_rows(found, wanted):
    assert found.columns["flags"].tolist() == wanted.columns["flags"].tolist()
    assert list(found.columns["error"]) == list(wanted.columns["error"])
    np.testing.assert_allclose(
        np.log1p(found.columns["z"]), np.log1p(wanted.columns["z"]), rtol=0, atol=1 / SPEED_OF_LIGHT
    )
    np.testing.assert_allclose(found.pdf, wanted.pdf, atol=1e-4)


class TestMemory:
    """A batch that does not fit into memory."""

    @pytest.mark.parametrize(
        "error",
        [
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            ),
            MemoryError(),
        ],
        ids=["CUDA", "CPU", "numpy"],
    )
    @pytest.mark.parametrize("fits", [1, 3])
    def test_smaller_batches_are_tried(self, fitter, prepared, undisturbed, monkeypatch, error, fits):
        compute, sizes = fitter_module.network_output, []

        def limited(network, flux, ivar, *rest):
            sizes.append(len(flux))
            if len(flux) > fits:
                raise error
            return compute(network, flux, ivar, *rest)

        monkeypatch.setattr(fitter_module, "network_output", limited)
        assert_same_rows(fitter.fit(prepared), undisturbed)
        assert sizes[0] == 10 and max(sizes[1:]) == 5 and min(sizes) <= fits

    def test_one_spectrum_that_does_not_fit_is_an_error(self, fitter, prepared, monkeypatch):
        def never(network, flux, ivar, *rest):
            raise MemoryError("not even one")

        monkeypatch.setattr(fitter_module, "network_output", never)
        with pytest.raises(MemoryError, match="not even one"):
            fitter.fit(prepared)

    def test_other_errors_are_not_taken_for_it(self, fitter, prepared, monkeypatch):
        def broken(network, flux, ivar, *rest):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        monkeypatch.setattr(fitter_module, "network_output", broken)
        with pytest.raises(RuntimeError, match="mat1"):
            fitter.fit(prepared)


class TestDevice:
    """A device that is not there, or goes away."""

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
    def test_cuda_that_is_asked_for_must_be_there(self, capsys):
        with pytest.raises(RuntimeError, match="'cuda' was asked for, but this machine has 0 CUDA devices"):
            fit_redshifts_cnn([example_path()], device="cuda")
        assert main(["fit", "--example", "--device", "cuda:1"]) == 1
        assert "this machine has 0 CUDA devices" in capsys.readouterr().err

    def test_no_such_device(self):
        with pytest.raises(ValueError, match="no such device"):
            fit_redshifts_cnn([example_path()], device="abacus")

    def test_device_that_cannot_be_used(self, monkeypatch, prepared, undisturbed):
        """CUDA is there, but another process has it for itself."""
        load = fitter_module.cached_model

        def busy(name, device="cpu", **options):
            if torch.device(device).type == "cuda":
                raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
            return load(name, device, **options)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(fitter_module, "cached_model", busy)
        with pytest.warns(RuntimeWarning, match="cuda failed .*busy or unavailable.*; continuing on the CPU"):
            fitter = Fitter()
        assert fitter.provenance["device"] == "cpu"
        assert_same_rows(fitter.fit(prepared), undisturbed)
        with pytest.raises(RuntimeError, match="busy or unavailable"):  # asked for by name: no other will do
            Fitter(device="cuda")

    @pytest.mark.parametrize("insists", [False, True])
    def test_device_that_is_lost(self, monkeypatch, prepared, undisturbed, insists):
        fitter = Fitter(device="cpu")
        fitter.device, fitter._insists = torch.device("cuda"), insists
        fitter.provenance["device"] = "cuda"
        compute = fitter_module.network_output

        def lost(network, flux, ivar, *rest):
            if fitter.device.type == "cuda":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return compute(network, flux, ivar, *rest)

        monkeypatch.setattr(fitter_module, "network_output", lost)
        if insists:
            with pytest.raises(RuntimeError, match="illegal memory access"):
                fitter.fit(prepared)
            return
        with pytest.warns(
            RuntimeWarning, match="cuda failed .*illegal memory access.*; continuing on the CPU"
        ):
            found = fitter.fit(prepared)
        assert_same_rows(found, undisturbed)
        assert fitter.provenance["device"] == "cuda, cpu"


def test_networks_that_read_the_same_share_it(fitter, prepared, undisturbed, monkeypatch):
    prepare_input, calls = Network.preprocess, []

    def counted(flux, ivar):
        calls.append(len(flux))
        return prepare_input(flux, ivar)

    monkeypatch.setattr(Network, "preprocess", staticmethod(counted))
    assert_same_rows(fitter.fit(prepared), undisturbed)
    assert calls == [10]


def test_answers_that_are_not_finite_cost_only_their_rows(fitter, prepared, undisturbed, monkeypatch):
    compute = fitter_module.network_output

    def broken(network, flux, ivar, *rest):
        output = compute(network, flux, ivar, *rest)
        output[2] = np.nan
        return output

    monkeypatch.setattr(fitter_module, "network_output", broken)
    found = fitter.fit(prepared).columns
    keep = np.arange(11) != 2
    assert np.isnan(found["z"][2]) and found["error"][2] == "the network gives no finite answer"
    assert RedshiftFlag.BAD_INPUT in RedshiftFlag(int(found["flags"][2]))
    np.testing.assert_array_equal(found["z"][keep], undisturbed.columns["z"][keep])


def test_a_cross_check_without_an_answer_has_no_say(fitter, prepared, undisturbed, monkeypatch):
    compute = fitter_module.network_output

    def broken(network, flux, ivar, *rest):
        output = compute(network, flux, ivar, *rest)
        if network is fitter._check:
            output[:] = np.inf
        return output

    monkeypatch.setattr(fitter_module, "network_output", broken)
    found = fitter.fit(prepared).columns
    np.testing.assert_array_equal(found["z"], undisturbed.columns["z"])
    assert np.isnan(found["z_check"]).all()
    assert not (found["flags"] & int(RedshiftFlag.MODELS_DISAGREE)).any()


class TestWorkers:
    """Processes that read files die."""

    def test_killed_worker(self, tmp_path):
        path = tmp_path / "spec-0001-50000-0001.fits"
        arrays = example_spectrum(2.1, snr=8)
        write_spec_lite(path, arrays.loglam, arrays.flux, arrays.ivar)
        kills = []

        def paths():
            for number in range(200):
                if number == 130:
                    for process in multiprocessing.active_children():
                        os.kill(process.pid, signal.SIGKILL)
                        process.join(60)
                        kills.append(process.pid)
                yield path

        table = fit_redshifts_cnn(paths(), n_workers=1, device="cpu")
        assert kills
        assert len(table) == 200 and (table["error"] == "").all() and np.ptp(table["z"]) < 1e-5


@contextmanager
def no_space():
    """A machine on which no file can grow beyond four kilobytes.

    Not a fixture: pytest writes its report before fixtures end, possibly to a file.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


class TestOutput:
    """Tables that cannot be written."""

    @pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".csv", ".parquet", ".vot"])
    def test_full_disk_keeps_the_table_that_was_there(self, tmp_path, table, suffix):
        path = tmp_path / f"z{suffix}"
        path.write_bytes(b"before")
        large = QTable(np.repeat(table.as_array(), 500))
        with no_space(), pytest.raises(OSError) as caught:
            write_table(large, path)
        assert caught.value.errno == errno.EFBIG or "large" in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"before"

    def test_rows_of_a_full_disk_come_out_elsewhere(self, tmp_path, monkeypatch, capsys):
        """Nothing at all can be written: the table goes to standard output."""
        monkeypatch.chdir(tmp_path)
        with no_space():
            status = main(["fit", example_path(), "--device", "cpu", "-o", "z.fits"])
        out, err = capsys.readouterr()
        assert status == 1 and "cannot write z.fits" in err and "1 rows on standard output" in err
        assert len(QTable.read(out, format="ascii.ecsv")) == 1
        assert not any(tmp_path.iterdir())

    def test_read_only_directory(self, table, monkeypatch, capsys):
        """The directory became read-only while the spectra were measured."""
        import specz_cnn.redshift.fit

        root = Path(tempfile.mkdtemp())  # other users cannot read what lies below tmp_path
        output, spare = root / "output", root / "spare"
        for directory in (output, spare):
            directory.mkdir()
        root.chmod(0o755)
        spare.chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", str(spare))
        monkeypatch.setattr(specz_cnn.redshift.fit, "fit_redshifts_cnn", lambda *args, **kwargs: table)
        monkeypatch.setattr(os, "access", lambda path, mode: True)
        monkeypatch.chdir(output)
        paths = [str(root / name) for name in ("a.fits", "b.fits", "c.fits")]
        for path in paths:
            Path(path).touch()
        command = ["fit", *paths, "-o", str(output / "z.ecsv")]
        assert main(command) == 0  # the user "nobody" may not be able to read what is imported on the way
        (output / "z.ecsv").unlink()
        capsys.readouterr()
        output.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            status = main(command)
        finally:
            os.seteuid(user)
        assert status == 1
        assert "Permission denied" in capsys.readouterr().err
        rescued = list(spare.iterdir())
        assert len(rescued) == 1 and len(QTable.read(rescued[0])) == len(table)
        assert not any(output.iterdir())

    @pytest.mark.parametrize(
        ("output", "message"), [("none/z.ecsv", "no such directory"), ("z.txt", "unknown kind of table")]
    )
    def test_outputs_that_can_be_refused_before_the_work(
        self, tmp_path, monkeypatch, capsys, output, message
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["fit", "--example", "-o", output]) == 2
        assert message in capsys.readouterr().err

    def test_interrupt_leaves_the_table_that_was_there(self, tmp_path, monkeypatch, capsys):
        path = tmp_path / "z.ecsv"
        path.write_text("before")

        def interrupted(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does
            signal.pause()

        monkeypatch.setattr(Fitter, "fit", interrupted)
        assert main(["fit", "--example", "-o", str(path), "--overwrite"]) == 130
        assert capsys.readouterr().err.endswith("interrupted\n")
        assert [p.name for p in tmp_path.iterdir()] == ["z.ecsv"] and path.read_text() == "before"

    def test_two_runs_write_one_output(self, tmp_path, table):
        """One of the two is there in the end, whole."""
        path = tmp_path / "z.ecsv"
        sizes = [300, 600]
        tables = [QTable(np.repeat(table.as_array(), n // 3)) for n in sizes]
        errors = []

        def write(rows):
            try:
                for _ in range(3):
                    write_table(rows, path)
            except Exception as error:  # noqa: BLE001 - of a thread, shown below
                errors.append(error)

        threads = [threading.Thread(target=write, args=(rows,)) for rows in tables]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == [] and len(QTable.read(path)) in sizes
        assert [p.name for p in tmp_path.iterdir()] == ["z.ecsv"]


def read_back(path):
    if path.suffix != ".parquet":
        return QTable.read(path)
    return QTable(pyarrow.parquet.read_table(path).to_pydict())  # astropy would ask for pandas


NAMES = [
    b"spec-\xff\xfe.fits",
    b"two\nlines.fits",
    b"tab\there.fits",
    b"\x01.fits",
    "Größe 星.fits".encode(),
    b'"q",.fits',
]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".csv", ".parquet", ".vot"])
def test_names_of_files_that_are_no_text(tmp_path, suffix):
    """Rows with such names can be written and read in every format; good rows do not suffer."""
    paths = [os.fsdecode(name) for name in NAMES]
    table = fit_redshifts_cnn([example_path(), *paths, example_path()], device="cpu")
    write_table(table, tmp_path / f"z{suffix}")
    found = read_back(tmp_path / f"z{suffix}")
    assert len(found) == len(paths) + 2
    np.testing.assert_allclose(found["z"][[0, -1]], table["z"][[0, -1]], rtol=1e-6)
    assert table["file"][1] == r"spec-\udcff\udcfe.fits" and table["file"][2] == r"two\nlines.fits"
    assert table["file"][5] == "Größe 星.fits"
