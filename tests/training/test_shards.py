"""Real spectra as shards: written once, resumed, drawn from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from astropy.table import Table

from specz_cnn import ModelGrid, read_arrays, write_spec_lite
from specz_cnn.simulate.parametric import example_spectrum
from specz_cnn.training.objects import split_objects
from specz_cnn.training.real_shards import build_shards, catalogue_rows, files_below
from specz_cnn.training.shards import ShardWriter, read_shards
from specz_cnn.training.sources import MixedSource, ShardSource

GRID = ModelGrid()


def add(writer, number):
    """Add spectrum ``number``, or skip it if that divides by four."""
    rng = np.random.default_rng(number)
    if number % 4 == 0:
        writer.add(None, None, None)
        return
    flux = rng.normal(3e-17, 1e-17, GRID.n_pixels).astype(np.float32)
    ivar = rng.gamma(2, 1e34, GRID.n_pixels).astype(np.float32)
    ivar[::10] = 0
    writer.add(flux, ivar, (1, 50000, number, 0.5 + 0.1 * number, number % 3 > 0, 5.0, 1.0))


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_resumed_writer_writes_the_same(tmp_path):
    whole = ShardWriter(tmp_path / "whole", GRID, shard_size=3)
    for number in range(20):
        add(whole, number)
    whole.flush()

    first = ShardWriter(tmp_path / "resumed", GRID, shard_size=3)
    for number in range(13):
        add(first, number)
    # It is killed here: what is not in a finished shard is lost, and done again.
    second = ShardWriter(tmp_path / "resumed", GRID, shard_size=3)
    assert 0 < second.n_finished < 13
    for number in range(second.n_finished, 20):
        add(second, number)
    second.flush()
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_what_is_read_is_what_was_written(tmp_path):
    writer = ShardWriter(tmp_path, GRID, shard_size=4)
    for number in range(1, 8):
        add(writer, number)
    writer.flush()
    flux, ivar, labels = read_shards(tmp_path)
    assert flux.shape == ivar.shape == (6, GRID.n_pixels) and flux.dtype == np.float32
    assert labels["fiber"].tolist() == [1, 2, 3, 5, 6, 7]
    np.testing.assert_allclose(np.abs(flux[0][ivar[0] > 0]).mean(), 1, rtol=1e-2)
    assert not ivar[:, ::10].any() and np.isfinite(ivar).all()


def test_shards_of_another_grid_are_refused(tmp_path):
    writer = ShardWriter(tmp_path, GRID)
    add(writer, 1)
    writer.flush()
    with pytest.raises(ValueError, match="another grid"):
        ShardWriter(tmp_path, ModelGrid(35440, 2, 2424))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Eight spectra, one damaged, in a tree; and their catalogue."""
    root = tmp_path_factory.mktemp("spectra")
    rows = []
    for number in range(1, 9):
        z = 1.4 + 0.2 * number
        arrays = example_spectrum(z, snr=6, seed=number)
        path = root / f"{number % 2}" / f"spec-0001-50000-{number:04d}.fits"
        path.parent.mkdir(exist_ok=True)
        write_spec_lite(path, arrays.loglam, arrays.flux, arrays.ivar)
        if number == 3:
            path.write_bytes(path.read_bytes()[:9000])
        rows.append((1, 50000, number, z if number != 5 else -1.0, "QSO" if number < 7 else "STAR"))
    rows.append((1, 50000, 99, 2.0, "QSO"))
    return root, Table(rows=rows, names=["PLATE", "MJD", "FIBERID", "Z", "CLASS"])


def test_catalogue_to_shards(survey, tmp_path):
    spectra, catalogue = survey
    done = []
    counts = build_shards(spectra, catalogue, tmp_path, GRID, shard_size=3, progress=done.append)
    assert counts == {"used": 6, "unreadable": 1, "no redshift": 1, "no file": 1}
    assert done == list(range(1, 10))
    flux, ivar, labels = read_shards(tmp_path)
    assert labels["fiber"].tolist() == [1, 2, 4, 6, 7, 8]
    assert labels["is_quasar"].tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(labels["snr"], 6, rtol=0.3)
    arrays = read_arrays(spectra / "1" / "spec-0001-50000-0001.fits")
    exact = GRID.rebin(arrays.loglam, arrays.flux, arrays.ivar)[0]
    good = ivar[0] > 0
    np.testing.assert_allclose(
        flux[0][good] / flux[0][good].std(), exact[good] / exact[good].std(), atol=0.01
    )
    before = contents(tmp_path)
    assert build_shards(spectra, catalogue, tmp_path, GRID, shard_size=3) == {}  # nothing is left to do
    assert contents(tmp_path) == before


def test_catalogue_without_a_column(survey, tmp_path):
    spectra, catalogue = survey
    with pytest.raises(ValueError, match="no column 'z'"):
        build_shards(spectra, catalogue["PLATE", "MJD", "FIBERID"], tmp_path, GRID)


def test_source_of_shards(survey, tmp_path):
    spectra, catalogue = survey
    build_shards(spectra, catalogue, tmp_path, GRID)
    plain = ShardSource(tmp_path, 64, seed=1, z_max=2.65)
    assert len(plain) == 6
    batch = plain.batch(3)
    assert batch.x.shape == (64, 2, GRID.n_pixels) and torch.isfinite(batch.x).all()
    assert torch.equal(plain.batch(3).x, batch.x) and not torch.equal(plain.batch(4).x, batch.x)

    # Shifted spectra have shifted redshifts: undone, they are those of the catalogue.
    shifted = ShardSource(tmp_path, 64, seed=1, max_shift=40, max_dimming=3.0, z_max=2.65)
    moved = shifted.batch(3)
    steps = (np.log1p(moved.z[:, None].numpy()) - np.log1p(shifted._labels["z"])) / GRID.step
    assert (np.abs(steps - np.rint(steps)).min(1) < 1e-2).all()
    assert (moved.z[moved.is_quasar] < 2.65).all() and torch.isfinite(moved.x).all()
    assert (moved.z != batch.z).any()

    mixed = MixedSource([plain, ShardSource(tmp_path, 16, seed=2)]).batch(0)
    assert mixed.x.shape[0] == len(mixed.z) == len(mixed.is_quasar) == 80


def test_no_usable_spectra(survey, tmp_path):
    spectra, catalogue = survey
    build_shards(spectra, catalogue[catalogue["CLASS"] == "QSO"], tmp_path, GRID)
    with pytest.raises(ValueError, match="no usable spectra"):
        ShardSource(tmp_path, 4, seed=1, z_min=6.0)


def test_index_is_readable(survey, tmp_path):
    spectra, catalogue = survey
    build_shards(spectra, catalogue, tmp_path, GRID)
    info = json.loads((tmp_path / "shards.json").read_text())
    assert info["grid"] == GRID.to_dict() and info["n_inputs"] == 9


def test_shards_of_another_catalogue_are_not_continued(survey, tmp_path):
    spectra, catalogue = survey
    build_shards(spectra, catalogue, tmp_path, GRID)
    with pytest.raises(ValueError, match="another catalogue"):
        build_shards(spectra, catalogue[:4], tmp_path, GRID)


def test_files_that_arrive_and_may_go(survey, tmp_path):
    """A function gives the paths block by block, and hears which files have found their place."""
    spectra, catalogue = survey
    locate, asked, gone = files_below(spectra), [], []

    def fetch(rows):
        asked.extend(rows["fiber"].tolist())
        return locate(rows)

    counts = build_shards(fetch, catalogue, tmp_path, GRID, shard_size=4, finished=gone.extend)
    assert asked == [1, 2, 3, 4, 5, 6, 7, 8, 99] and counts["used"] == 6
    assert sorted(path.name for path in gone) == [
        f"spec-0001-50000-{number:04d}.fits" for number in range(1, 9)
    ]


def test_columns_of_a_quasar_catalogue(tmp_path):
    """Names in any case, of a FITS file too, of which only what matters is read; masked and missing redshifts."""
    table = Table(
        {
            "PLATE": [3586, 3586, 7],
            "MJD": [55181, 55182, 51000],
            "FIBERID": [76, 76, 1],
            "Z": [2.8, -999.0, 1.0],
            "RA": [10.0, 10.0001, 200.0],
            "DEC": [0.0, 0.0, 0.0],
            "NHI_DLA": np.zeros((3, 5)),
        }
    )
    table.write(tmp_path / "q.fits")
    for catalogue in (table, tmp_path / "q.fits"):
        rows = catalogue_rows(catalogue)
        assert (
            rows["plate"].tolist() == [3586, 3586, 7]
            and rows["is_quasar"].all()
            and (rows["weight"] == 1).all()
        )
        assert rows["z"][0] == 2.8 and np.isnan(rows["z"][1])
        assert rows["object"][0] == rows["object"][1] != rows["object"][2]


def test_parts_of_a_sample():
    """An object is in one part, whichever others are there; shares are kept."""
    names = [f"object {number // 2}" for number in range(6000)]
    part = split_objects(names, {"train": 0.8, "calibration": 0.1, "test": 0.1})
    assert (part[::2] == part[1::2]).all()
    assert abs((part == "train").mean() - 0.8) < 0.03 and abs((part == "test").mean() - 0.1) < 0.02
    some = split_objects(names[100:300], {"train": 0.8, "calibration": 0.1, "test": 0.1})
    assert (some == part[100:300]).all()
    with pytest.raises(ValueError, match="add up to one"):
        split_objects(names, {"train": 0.8, "test": 0.1})


def test_a_limited_number_of_spectra(survey, tmp_path):
    spectra, catalogue = survey
    build_shards(spectra, catalogue, tmp_path, GRID, shard_size=2)
    whole, some = read_shards(tmp_path), read_shards(tmp_path, limit=3)
    assert [len(values) for values in some] == [3, 3, 3]
    for a, b in zip(whole, some, strict=True):
        np.testing.assert_array_equal(a[::2], b)
