"""The same answers from threads, from processes, and from one run to the next; nothing global changes."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.resources import files

import numpy as np
import pytest
import torch

from specz_cnn import fit_redshift_cnn, read_arrays
from specz_cnn.models.info import ModelInfo
from specz_cnn.models.registry import save_model
from specz_cnn.models.rnet import RNetPZ
from specz_cnn.models.rnet_e import RNetE

EXAMPLE = files("specz_cnn") / "data" / "example-spec.fits"
GRID = {"start": 35440, "factor": 4, "n_pixels": 1212}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two untrained networks: what they say is nonsense, but always the same nonsense."""
    directory = tmp_path_factory.mktemp("weights")
    torch.manual_seed(8)
    networks = {
        "e": (RNetE(n_bins=568, channels=(8, 6), kernels=(9, 5), n_templates=3), 568),
        "pz": (RNetPZ(n_bins=284, hidden=16), 284),
    }
    paths = {}
    for name, (network, n) in networks.items():
        arguments = {"n_pixels": 1212, "n_bins": n}
        if name == "e":
            arguments |= {"channels": [8, 6], "kernels": [9, 5], "n_templates": 3}
        else:
            arguments |= {"hidden": 16}
            with torch.no_grad():
                network.fc3.weight.mul_(30)  # peaks that differ from one spectrum to the next
        info = ModelInfo(
            name=name,
            tag=f"{name}-test",
            architecture=type(network).__name__,
            arguments=arguments,
            grid=GRID,
            bins={"n": n, "step": 2.09 / n},
        )
        paths[name] = directory / f"{name}.safetensors"
        save_model(paths[name], network.eval(), info)
    return {"model": paths["e"], "cross_check": paths["pz"]}


@pytest.fixture(scope="module")
def spectra():
    """The packaged example under different noise."""
    arrays = read_arrays(EXAMPLE)
    rng = np.random.default_rng(1)
    sigma = np.where(arrays.ivar > 0, 1 / np.sqrt(np.where(arrays.ivar > 0, arrays.ivar, 1)), 0)
    return [
        replace(arrays, flux=(arrays.flux + k * sigma * rng.normal(size=sigma.size)).astype(np.float32))
        for k in range(6)
    ]


@pytest.fixture(scope="module")
def alone(models, spectra):
    """The results of this process, one after the other."""
    return [fit_redshift_cnn(spectrum, **models) for spectrum in spectra]


def assert_same(results, wanted):
    assert len(results) == len(wanted)
    for a, b in zip(results, wanted, strict=True):
        assert abs(np.log1p(a.z) - np.log1p(b.z)) * 299792.458 < 0.01
        assert abs(np.log1p(a.z_check) - np.log1p(b.z_check)) * 299792.458 < 0.01
        assert a.flags == b.flags
        np.testing.assert_allclose(a.pdf, b.pdf, rtol=1e-3, atol=1e-8)


def test_spectra_of_the_test_differ(alone):
    assert len({result.z_check for result in alone}) == len(alone)


def test_threads(models, spectra, alone):
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(partial(fit_redshift_cnn, **models), spectra * 5))
    assert_same(results, alone * 5)


# Python from 3.12 on warns of every fork of a process with threads; that it works is what is tested here.
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(method, models, spectra, alone):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {method}")
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map_async(partial(fit_redshift_cnn, **models), spectra).get(timeout=300)
    assert_same(results, alone)


def test_fork_after_use_of_several_threads(models, spectra, alone):
    """Forked while other threads are fitting; the children do not wait for threads that no longer exist."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this platform has no fork")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    fit = partial(fit_redshift_cnn, **models)
    try:
        with ThreadPoolExecutor(2) as busy, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            others = [busy.submit(fit, spectrum) for spectrum in spectra]
            with multiprocessing.get_context("fork").Pool(2) as pool:
                results = pool.map_async(fit, spectra).get(timeout=300)
            assert_same([other.result() for other in others], alone)
    finally:
        torch.set_num_threads(threads)
    assert_same(results, alone)


RUN = """
import sys
from specz_cnn import fit_redshift_cnn
result = fit_redshift_cnn(sys.argv[1], model=sys.argv[2], cross_check=sys.argv[3])
print(result.z.hex(), result.z_err.hex(), result.z_check.hex(), result.pdf.tobytes().hex())
"""


def test_two_runs_agree_to_the_last_bit(models):
    command = [sys.executable, "-c", RUN, str(EXAMPLE), str(models["model"]), str(models["cross_check"])]
    first, second = (
        subprocess.run(command, capture_output=True, check=True, timeout=300).stdout for _ in range(2)
    )
    assert len(first) > 1000 and first == second


def test_order_of_calls_does_not_matter(models, spectra, alone):
    swapped = {"model": models["cross_check"], "cross_check": models["model"]}
    for spectrum in spectra[::-1]:
        fit_redshift_cnn(spectrum, **swapped)
    assert_same([fit_redshift_cnn(spectrum, **models) for spectrum in spectra], alone)


def test_nothing_global_changes(models, spectra):
    def state():
        return {
            "torch random": torch.get_rng_state().numpy().tobytes(),
            "numpy random": np.random.get_state()[1].tobytes(),  # noqa: NPY002
            "threads": torch.get_num_threads(),
            "autograd": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
            "type": torch.get_default_dtype(),
            "precision": torch.get_float32_matmul_precision(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "floating point": np.geterr(),
            "warnings": list(warnings.filters),
        }

    before = state()
    fit_redshift_cnn(spectra[0], **models)
    assert state() == before
