"""The bank from its public originals: fetched, checked, converted, resumed; from a server with moods."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from loopback_sdss import serving

from specz_cnn import conf
from specz_cnn.cli import main
from specz_cnn.evaluate import split_half
from specz_cnn.sdss import SpecID, retry
from specz_cnn.sdss.fetch import fetch_file
from specz_cnn.simulate import Simulator
from specz_cnn.simulate.originals import CONVERTERS, checked, install_originals, noise_spectra, originals


def public_form(path):
    """A file of the data directory as its authors publish it."""
    if path.suffix != ".npz":
        return path.read_bytes()
    with np.load(path) as data:
        arrays = {name: data[name] for name in data}
    buffer = io.BytesIO()
    if "eigenvectors" in arrays:
        torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, buffer)
        return buffer.getvalue()
    grids = {name: arrays.pop(name) for name in ("input_grid", "output_grid")}
    arrays["coefficients"] = arrays["coefficients"][:, 0]
    columns = Table({"CLASS": np.full(len(arrays["Z"]), "QSO"), **arrays})
    grids = Table({"json_name": ["x.json"], **{name: values[None] for name, values in grids.items()}})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(columns), fits.BinTableHDU(grids)]
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


@pytest.fixture
def server(data_dir, monkeypatch):
    """All originals, as far as they are here, and the list of them with the addresses of the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.01)
    content = {file.path: public_form(data_dir / file.path) for file in originals()}
    names = {file.path: file.url.rpartition("/")[2] for file in originals()}
    with (
        serving({names[path]: values for path, values in content.items()}) as server,
        conf.set_temp("retries", 2),
        conf.set_temp("timeout", 2.0),
    ):
        server.list = [
            replace(
                file, n_bytes=len(content[file.path]), sha256=hashlib.sha256(content[file.path]).hexdigest()
            )
            for file in originals(base=server.url)
        ]
        yield server


def fetch_from(server):
    sizes = {file.url: file.n_bytes for file in server.list}
    return lambda url: fetch_file(url, n_bytes=sizes[url])


def test_list_of_originals(data_dir):
    """Checksums of files that stay as they are, are those of the data directory; versions are fixed."""
    files = originals()
    assert len({file.path for file in files}) == len(files) == 15
    for file in files:
        assert file.url.startswith("https://") and len(file.url.split("/")[5]) == 40  # a commit
        assert file.licence and file.citation and file.converter in ("", *CONVERTERS)
        if not file.converter:
            assert file.sha256 == hashlib.sha256((data_dir / file.path).read_bytes()).hexdigest()
            assert file.n_bytes == (data_dir / file.path).stat().st_size


def test_every_file_is_that_of_the_data_directory(server, data_dir, tmp_path):
    """Byte for byte where files stay as they are; converted ones hold the same arrays (zip archives differ)."""
    status = install_originals(tmp_path, fetch_from(server), files=server.list)
    assert {outcome for _, outcome in status} == {"ok"}
    for file in server.list:
        ours, theirs = tmp_path / file.path, data_dir / file.path
        if not file.converter:
            assert ours.read_bytes() == theirs.read_bytes()
            continue
        with np.load(ours) as a, np.load(theirs) as b:
            assert set(a) == set(b)
            for name in b:
                np.testing.assert_array_equal(a[name], b[name])
                assert a[name].dtype.kind == b[name].dtype.kind and a[name].shape == b[name].shape

    # Nothing is asked for again; what is damaged is.
    server.requests.clear()
    damaged = tmp_path / "templates" / "spEigenQSO-55732.fits"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    converted = tmp_path / "statistics" / "gasnet3_encoder_QSO_weights.npz"
    converted.write_bytes(b"x")
    again = install_originals(tmp_path, fetch_from(server), files=server.list)
    assert sum(outcome == "present" for _, outcome in again) == len(server.list) - 2
    assert set(server.requests) == {damaged.name, "Encoder_SDSS_QSO.pth"}


def test_the_same_spectra_from_both(server, data_dir, tmp_path):
    """A simulation, and so a training, from the fetched bank is that from the data directory."""
    install_originals(tmp_path, fetch_from(server), files=server.list)
    for name in ("dev_spectra.npz", "sky_fibres.npz"):
        if (data_dir / name).exists():
            (tmp_path / name).symlink_to(data_dir / name)
    one, other = (Simulator(place).draw(40, 9) for place in (tmp_path, data_dir))
    assert torch.equal(one.flux, other.flux) and torch.equal(one.z, other.z)


def test_moods_of_servers(server, tmp_path):
    """Busy and broken connections pass; another file, half a file and a missing one are told, and the rest is there."""
    names = [file.url.rpartition("/")[2] for file in server.list]
    server.moods[names[0]], server.moods[names[1]] = [503], ["cut"]
    server.moods[names[2]] = [server.files[names[3]]]
    server.moods[names[4]] = ["short"] * 5
    del server.files[names[5]]
    status = {
        file.path: outcome
        for file, outcome in install_originals(tmp_path, fetch_from(server), files=server.list)
    }
    outcomes = list(status.values())
    assert outcomes[0] == outcomes[1] == "ok"
    assert "original" in outcomes[2] and "bytes of" in outcomes[4] and "404" in outcomes[5]
    assert sum(outcome == "ok" for outcome in outcomes) == len(outcomes) - 3
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.fits")}
    assert {path for path in files if status[path] != "ok"} == set()
    with pytest.raises(ValueError, match="another file than the original"):
        checked(b"x" * server.list[0].n_bytes, server.list[0])


def test_a_checkpoint_executes_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    buffer = io.BytesIO()
    torch.save({"eigenvectors": Evil()}, buffer)
    with pytest.raises(ValueError, match="no checkpoint of tensors"):
        CONVERTERS["checkpoint"](buffer.getvalue())
    assert not (tmp_path / "evil").exists()


def test_noise_is_not_of_spectra_that_judge(data_dir):
    labels = Table.read(data_dir / "dev_labels.csv")
    half = {
        (row["plate"], row["mjd"], row["fiber"]): side
        for row, side in zip(labels, split_half(np.asarray(labels["group"])), strict=True)
    }
    ids = [SpecID.parse(name) for name in noise_spectra()]
    assert len(set(ids)) == len(ids) > 100
    assert {half[name.plate, name.mjd, name.fiber] for name in ids} == {"calibration"}


def test_command(server, data_dir, spectra_dir, tmp_path, monkeypatch, capsys):
    """The command brings originals and noise; the same command again, nothing."""
    monkeypatch.setattr("specz_cnn.simulate.originals.originals", lambda base=None: server.list)
    monkeypatch.setattr("specz_cnn.simulate.originals.noise_spectra", lambda: noise_spectra()[:12])
    server.files |= {path.name: path.read_bytes() for path in spectra_dir.glob("spec-*.fits")}
    with conf.set_temp("sas_baseurl", f"{server.url}/sas"):
        assert main(["templates", str(tmp_path / "bank")]) == 0
        assert "15 fetched, 0 there already, 0 missing" in capsys.readouterr().err
        with np.load(tmp_path / "bank" / "dev_spectra.npz") as noise:
            assert noise["ivar"].shape == (12, 4900) and (noise["ivar"] > 0).any(1).all()
            (real,) = (data_dir / "dev_spectra.npz",)
            with np.load(real) as shared:
                for group, row in zip(noise["group"], noise["ivar"], strict=True):
                    plate, mjd, fiber = map(int, group.split("-"))
                    same = (shared["plate"] == plate) & (shared["mjd"] == mjd) & (shared["fiber"] == fiber)
                    theirs = shared["ivar"][same][0]
                    # The shared file has the mask of the pipeline applied here and there.
                    both = (row > 0) & (theirs > 0)
                    np.testing.assert_allclose(row[both], theirs[both], rtol=1e-3)
        server.requests.clear()
        assert main(["templates", str(tmp_path / "bank")]) == 0
        assert not server.requests
    assert main(["templates", "--list"]) == 0
    assert "BSD-3-Clause" in capsys.readouterr().out
    assert main(["templates"]) == 2


@pytest.mark.remote_data
@pytest.mark.parametrize("file", originals(), ids=lambda file: file.path)
def test_live_addresses(file):
    checked(fetch_file(file.url, n_bytes=file.n_bytes), file)
