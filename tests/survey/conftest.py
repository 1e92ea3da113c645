"""A small survey: a tree of simulated files, some of them bad, and two small networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest

from specz_cnn import write_spec_lite
from specz_cnn.survey import fit_survey

N_ROWS = 1500
ROWS_PER_PART = 100


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Directory tree of 23 files in three plates; one is damaged."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(1)
    loglam = 3.56 + 1e-4 * np.arange(4500)
    for number in range(23):
        plate, fiber = 3586 + number % 3, number + 1
        centres = rng.uniform(3.58, 3.98, size=(4, 1))
        lines = 8 * np.exp(-0.5 * ((loglam - centres) / 0.004) ** 2).sum(0)
        path = root / f"{plate:04d}" / f"spec-{plate:04d}-55181-{fiber:04d}.fits"
        path.parent.mkdir(exist_ok=True)
        write_spec_lite(
            path, loglam, 2 + lines + rng.normal(size=4500), np.ones(4500), z=1.5, spectral_class="QSO"
        )
        if number == 7:
            path.write_bytes(path.read_bytes()[:20_000])
    (root / "3586" / "notes.txt").write_text("not a spectrum")
    return root


@pytest.fixture(scope="session")
def files(tree):
    """Paths of the files of the tree, sorted."""
    return sorted(str(path) for path in tree.rglob("spec-*.fits"))


@pytest.fixture(scope="session")
def inputs(files):
    """Many paths: those of the tree again and again, and one that does not exist."""
    paths = (files * (N_ROWS // len(files) + 1))[: N_ROWS - 1]
    return [*paths, files[0].replace("spec-3586-55181-0001", "spec-3586-55181-0999")]


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Options of `fit_survey`: two small networks with random weights."""
    import torch

    from specz_cnn.models import ModelInfo, RNetE, save_model

    directory = tmp_path_factory.mktemp("weights")
    grid = {"start": 35440, "factor": 4, "n_pixels": 1212}
    step = 4e-4 * float(np.log(10))
    torch.manual_seed(2)
    paths = []
    for name, n_bins in (("small", 400), ("second", 300)):
        arguments = {"n_bins": n_bins, "channels": [4], "kernels": [5], "n_templates": 2}
        info = ModelInfo(name, f"{name}-1", "RNetE", arguments, grid, bins={"n": n_bins, "step": step})
        path = directory / f"{name}.safetensors"
        save_model(path, RNetE(**arguments), info)
        paths.append(str(path))
    return {"model": paths[0], "cross_check": paths[1], "device": "cpu"}


@pytest.fixture(scope="session")
def options(networks):
    """Options of the survey that is killed in many ways."""
    return {**networks, "batch_size": 16, "rows_per_part": ROWS_PER_PART}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, inputs, options):
    """The same survey, left alone: its output directory."""
    output = tmp_path_factory.mktemp("undisturbed")
    fit_survey(inputs, output, n_workers=1, **options)
    return output


@pytest.fixture(scope="session")
def same_output():
    """A function that compares two output directories byte by byte."""

    def compare(directory, expected):
        names = [path.name for path in sorted(expected.iterdir()) if not path.name.startswith(".")]
        assert [path.name for path in sorted(directory.iterdir()) if not path.name.startswith(".")] == names
        assert len(names) > 2
        for name in names:
            assert (directory / name).read_bytes() == (expected / name).read_bytes(), name

    return compare
