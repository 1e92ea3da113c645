"""Faults that were found by reading, each with its whole kind."""

from __future__ import annotations

import gc
import gzip
import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

import specz_cnn
from specz_cnn.commands import inspect
from specz_cnn.io.layout import SpecLiteError, read_arrays_astropy
from specz_cnn.models import list_models, model_info
from specz_cnn.models.output import resolve_device
from specz_cnn.redshift.fitter import default_models
from specz_cnn.results import write_table
from specz_cnn.survey import fit_survey
from specz_cnn.training.real_shards import build_shards


@pytest.mark.parametrize("as_file", [False, True])
def test_a_model_does_not_check_itself_under_another_name(as_file, tmp_path):
    default = str(specz_cnn.conf.default_cross_check)
    name = model_info(default).tag
    assert name != default
    if as_file:
        from specz_cnn.models.registry import WEIGHTS_DIRECTORY

        (file,) = WEIGHTS_DIRECTORY.glob(f"{name}-*.safetensors")
        name = tmp_path / "mine.safetensors"
        shutil.copy(file, name)
    model, check = default_models(name)
    assert model == name and check == str(specz_cnn.conf.default_model)
    assert default_models(name, default) == (name, None)


def test_mask_policies_that_do_not_exist(tmp_path):
    with pytest.raises(ValueError, match="mask must be"):
        fit_survey([specz_cnn.example_path()], tmp_path / "out", mask="harsh", n_workers=0)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_numpy(tmp_path):
    summary = fit_survey([specz_cnn.example_path()], tmp_path / "out", mask=np.int64(5), n_workers=0)
    assert summary.n_rows == 1 and summary.n_failed == 0


def test_a_file_called_as_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = str(specz_cnn.conf.default_model)
    (tmp_path / name).write_text("notes")
    summary = fit_survey([specz_cnn.example_path()], tmp_path / "out", n_workers=0)
    assert summary.n_failed == 0
    assert name in list_models()


@pytest.mark.parametrize("device", ["meta", "mps"])
def test_devices_that_cannot_compute(device):
    with pytest.raises(ValueError, match=f"no such device: '{device}'; networks run on cpu and cuda"):
        resolve_device(device)


@pytest.mark.parametrize("suffix", ["ecsv", "csv", "fits", "parquet", "vot", "jsonl"])
def test_tables_that_say_so_are_compressed(tmp_path, suffix):
    table = QTable({"z": [1.5, 2.5]})
    write_table(table, tmp_path / f"z.{suffix}.gz")
    with gzip.open(tmp_path / f"z.{suffix}.gz") as stream:
        content = stream.read()
    write_table(table, tmp_path / f"z.{suffix}")
    if suffix not in ("vot", "fits"):  # these say when they were written
        assert content == (tmp_path / f"z.{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_history_of_naxis(tmp_path):
    path = tmp_path / "spec-3586-55181-0076.fits"
    with fits.open(specz_cnn.example_path()) as hdus:
        hdus[0].header["HISTORY"] = "the image had NAXIS = 4096 and TFIELDS = 5000"
        hdus[0].header["COMMENT"] = "PCOUNT = -1"
        hdus.writeto(path)
    assert read_arrays_astropy(path).flux.size
    content = path.read_bytes()
    path.write_bytes(content.replace(b"NAXIS   =                    0", b"NAXIS   =           4096000000", 1))
    with pytest.raises(SpecLiteError, match="NAXIS = 4096000000 in a header"):
        read_arrays_astropy(path)


def test_search_by_warning_bits(capsys):
    from specz_cnn.cli import main

    assert main(["search", "--zwarning", "0", "--sql"]) == 0
    assert "zwarning" in capsys.readouterr().out.lower()


def test_compressed_spectra_are_trained_on(tmp_path):
    from specz_cnn.simulate.parametric import write_example

    (tmp_path / "spectra").mkdir()
    plain = tmp_path / "spec-0001-50000-0007.fits"
    write_example(plain, z=2.0, snr=10, seed=1, fiber=7)
    with gzip.open(tmp_path / "spectra" / f"{plain.name}.gz", "wb") as stream:
        stream.write(plain.read_bytes())
    catalogue = Table({"PLATE": [1], "MJD": [50000], "FIBERID": [7], "Z": [2.0]})
    grid = specz_cnn.load_model(str(specz_cnn.conf.default_model)).grid
    assert build_shards(tmp_path / "spectra", catalogue, tmp_path / "shards", grid) == {"used": 1}


def test_inspect_keeps_no_branch_that_nobody_reads(tmp_path, monkeypatch):
    def tee(rows):
        pytest.fail("there is only one reader")

    table = specz_cnn.fit_redshifts_cnn([specz_cnn.example_path()])
    write_table(table, tmp_path / "z.ecsv")
    monkeypatch.setattr(inspect, "tee", tee)
    from specz_cnn.cli import main

    arguments = ["inspect", str(tmp_path / "z.ecsv"), "--model", "none", "-o", str(tmp_path / "page.html")]
    assert main(arguments) == 0


def test_a_file_written_anew_is_another_model(tmp_path):
    from specz_cnn.models.registry import resolve_model, same_weights

    path = tmp_path / "mine.safetensors"
    default, other = str(specz_cnn.conf.default_model), "quasarnet"
    shutil.copyfile(resolve_model(default)[0], path)
    assert same_weights(path, default) and not same_weights(path, other)
    shutil.copyfile(resolve_model(other)[0], path)
    assert same_weights(path, other) and not same_weights(path, default)
    assert not same_weights(path, tmp_path / "nothing.safetensors")


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    """Somebody's file of 60 MB: an image, a table, another image."""
    path = tmp_path_factory.mktemp("large") / "theirs.fits"
    image = np.zeros((1000, 2500))
    table = fits.BinTableHDU.from_columns([fits.Column("counts", "D", array=np.zeros(2_500_000))])
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image), table, fits.ImageHDU(image)]).writeto(path)
    return path


@pytest.mark.parametrize("how", ["path", "file"])
def test_identifiers_read_the_headers_of_a_large_file_only(large_file, how, monkeypatch):
    """Reading anybody's file with specutils is not slowed down by ours looking at it, too."""
    from specz_cnn.io import spec_lite
    from specz_cnn.io.formats import registration

    read = []

    class Counted(io.BufferedReader):
        def read(self, size=-1, /):
            data = super().read(size)
            read.append(len(data))
            return data

    with Counted(io.FileIO(large_file), buffer_size=2880) as stream:
        if how == "path":
            monkeypatch.setattr("builtins.open", lambda *args, **kwargs: Counted(io.FileIO(large_file)))
        source = large_file if how == "path" else stream
        assert not registration._content_check(registration.OWN_FORMATS[0])(source)
        assert not spec_lite._identify("read", large_file, stream, source)
    assert 0 < sum(read) < 1e5


def test_identification_of_compressed_and_other_files(tmp_path):
    from specz_cnn.io.layout import read_first_headers

    example = specz_cnn.example_path()
    packed = tmp_path / "spec-3586-55181-0076.fits.gz"
    with gzip.open(packed, "wb") as stream:
        stream.write(Path(example).read_bytes())
    for path in (example, packed):
        first, second = read_first_headers(path, 2)
        assert first["SIMPLE"] and second["XTENSION"] == "BINTABLE" and "TTYPE1" in second
    (tmp_path / "notes.fits").write_text("nothing of the kind")
    assert read_first_headers(tmp_path / "notes.fits", 2) == []
    with fits.open(example) as hdulist:
        assert len(read_first_headers(hdulist, 2)) == 2


def test_a_chain_of_hdus_that_does_not_fit_together_is_not_sound(large_file):
    from specz_cnn.io.headers import is_sound

    content = large_file.read_bytes()
    assert is_sound(io.BytesIO(content))
    assert not is_sound(io.BytesIO(content), limit=10_000)
    for found, wrong in (
        (b"NAXIS2  =                 1000", b"NAXIS2  =                  999"),
        (b"NAXIS   =                    2", b"NAXIS   =                 2222"),
        (b"PCOUNT  =                    0", b"PCOUNT  =                   -1"),
        (b"BITPIX  =                  -64", b"BITPIX  =                  big"),
        (b"XTENSION= 'IMAGE", b"XTENSIOM= 'IMAGE"),
    ):
        assert content.count(found) and len(found) == len(wrong)
        assert not is_sound(io.BytesIO(content.replace(found, wrong, 1))), wrong
    assert not is_sound(io.BytesIO(b"")) and not is_sound(io.BytesIO(b"x" * 5760))


@pytest.fixture
def by_specutils(tmp_path):
    """A spectrum read by a loader of specutils; every one of its pixels has a bit in and_mask."""
    from astropy import units as u
    from specutils import Spectrum

    arrays = specz_cnn.read_arrays(specz_cnn.example_path())
    path = tmp_path / "spec-3586-55181-0076.fits"
    bits = np.full(len(arrays), 1 << 23)
    specz_cnn.write_spec_lite(
        path, arrays.loglam, arrays.flux, arrays.ivar, and_mask=bits, plate=3586, mjd=55181, fiber=76
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        return Spectrum.read(path, format="SDSS-III/IV spec")


def test_what_a_user_masks_after_reading_counts(by_specutils):
    from specz_cnn.io.convert import arrays_from_spectrum, split_spectrum

    def used(spectrum):
        return arrays_from_spectrum(spectrum).ivar > 0

    spectrum = by_specutils
    good = used(spectrum)
    assert good.sum() > 3000 and spectrum.mask.all()
    np.testing.assert_array_equal(used(spectrum[100:900]), good[100:900])  # a slice keeps the loader's mask
    mine = np.zeros(len(good), dtype=bool)
    mine[1000:1500] = True
    spectrum.mask = mine
    np.testing.assert_array_equal(used(spectrum), good & ~mine)
    np.testing.assert_array_equal(used(next(split_spectrum([spectrum]))), good & ~mine)


def test_what_a_user_masks_beyond_the_mask_of_a_loader(by_specutils, monkeypatch):
    from specz_cnn.io import loader_masks
    from specz_cnn.io.convert import arrays_from_spectrum

    spectrum = by_specutils
    good = arrays_from_spectrum(spectrum).ivar > 0
    spectrum.mask[:] = False
    spectrum.mask[:50] = True
    loader_masks._note(spectrum)  # as a loader that masks little
    np.testing.assert_array_equal(arrays_from_spectrum(spectrum).ivar > 0, good)
    spectrum.mask[200:300] = True
    wanted = good & ~np.isin(np.arange(len(good)), np.arange(200, 300))
    np.testing.assert_array_equal(arrays_from_spectrum(spectrum).ivar > 0, wanted)


def test_masks_are_remembered_no_longer_than_their_spectra(by_specutils):
    from specz_cnn.io import loader_masks

    gc.collect()
    copies = [by_specutils[:] for _ in range(3)]
    size = len(loader_masks._as_read)
    assert by_specutils in loader_masks._as_read and copies[0] not in loader_masks._as_read
    for copy in copies:
        loader_masks.use_mask(copy)
    assert len(loader_masks._as_read) == size + 3
    del copy, copies
    gc.collect()
    assert len(loader_masks._as_read) == size


def test_an_answer_that_is_not_finite(monkeypatch, tmp_path):
    from specz_cnn.redshift import fitter as fitter_module

    compute = fitter_module.network_output

    def broken(network, flux, ivar, *rest):
        return np.full_like(compute(network, flux, ivar, *rest), np.nan)

    monkeypatch.setattr(fitter_module, "network_output", broken)
    path = specz_cnn.example_path()
    with pytest.raises(ValueError, match="cannot measure .*: the network gives no finite answer"):
        specz_cnn.fit_redshift_cnn(path)
    table = specz_cnn.fit_redshifts_cnn([path])
    assert np.isnan(table["z"][0]) and table["error"][0] == "the network gives no finite answer"
    assert "BAD_INPUT" in specz_cnn.decode_flags(int(table["flags"][0]))
    summary = fit_survey([path], tmp_path / "out", n_workers=0)
    assert summary.n_failed == 1 and summary.flags["BAD_INPUT"] == 1


@pytest.mark.parametrize("pdf", [np.full(100, np.nan), np.zeros(100), np.r_[np.inf, np.zeros(99)]])
def test_no_interval_of_what_is_no_distribution(pdf):
    from specz_cnn.results.distribution import credible_intervals

    with pytest.raises(ValueError, match="not finite, or zero everywhere"):
        credible_intervals(pdf, 1e-3, 0.68)


FORK = """
import os, torch, specz_cnn
torch.set_num_threads(3)
specz_cnn.fit_redshift_cnn(specz_cnn.example_path())
child = os.fork()
if child == 0:
    before = torch.get_num_threads()
    specz_cnn.fit_redshift_cnn(specz_cnn.example_path())
    specz_cnn.load_model("rnet-e")
    os._exit(0 if before == torch.get_num_threads() == 3 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_children_of_the_user_keep_their_threads():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.stdout == "0 3\n", done.stderr


def test_a_survey_goes_on_without_a_device_that_nobody_named(tmp_path, monkeypatch):
    import torch

    from specz_cnn.survey import read_survey

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    paths = [specz_cnn.example_path()]
    with pytest.raises(RuntimeError, match="0 CUDA devices"):
        fit_survey(paths, tmp_path / "named", device="cuda", n_workers=0)
    # As on a machine that has CUDA, where it fails.
    monkeypatch.setattr("specz_cnn.models.output.resolve_device", lambda device: torch.device("cuda"))
    with pytest.warns(RuntimeWarning, match="cuda failed .*; continuing on the CPU"):
        summary = fit_survey(paths, tmp_path / "out", n_workers=0, format="fits")
    assert summary.n_failed == 0
    (part,) = (tmp_path / "out").glob("part-*")
    assert fits.getval(part, "DEVICE", 1) == "cpu"
    assert len(read_survey(tmp_path / "out")) == 1


def test_masks_mean_the_same_everywhere(tmp_path, capsys):
    """Of lists, surveys and the command: the same rows, the same refusals."""
    from specz_cnn.cli import main
    from specz_cnn.survey import fit_files

    arrays = specz_cnn.read_arrays(specz_cnn.example_path())
    path = tmp_path / "spec-3586-55181-0076.fits"
    bits = np.where(arrays.loglam > 3.8, 1 << 23, 0)
    specz_cnn.write_spec_lite(path, arrays.loglam, arrays.flux, arrays.ivar, and_mask=bits)
    coverage = {}
    for mask, text in (("default", "default"), ("hard", "hard"), (1 << 23, "0x800000"), ("ivar", "ivar")):
        found = [
            specz_cnn.fit_redshift_cnn(path, mask=mask, cross_check=None).coverage,
            specz_cnn.fit_redshifts_cnn([path], mask=mask, cross_check=None)["coverage"][0],
            fit_files([path], mask=mask, cross_check=None, n_workers=0)["coverage"][0],
        ]
        target = tmp_path / f"{text}.ecsv"
        command = ["fit", str(path), "--mask", text, "--no-cross-check", "-o", str(target), "--workers", "0"]
        assert main(command) == 0
        found.append(QTable.read(target)["coverage"][0])
        assert len(set(found)) == 1
        coverage[text] = found[0]
    assert coverage["hard"] == coverage["0x800000"] < coverage["default"] == coverage["ivar"]
    for fit in (specz_cnn.fit_redshift_cnn, specz_cnn.fit_redshifts_cnn):
        with pytest.raises(ValueError, match="mask must be"):
            fit(path, mask="harsh")
    with pytest.raises(SystemExit):
        main(["fit", str(path), "--mask", "harsh"])
    assert "mask must be" in capsys.readouterr().err
