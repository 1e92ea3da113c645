"""Faults that were found by reading, each with its whole kind."""

from __future__ import annotations

import gzip
import io
import shutil
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
from specz_cnn.training.catalogue import build_shards


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
    from specz_cnn.simulate.example import write_example

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
