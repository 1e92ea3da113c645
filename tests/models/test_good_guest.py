"""The package in somebody else's process: torch's settings and random state are theirs, and stay so."""

from __future__ import annotations

import pytest
import torch

import specz_cnn

PATH = specz_cnn.example_path()


@pytest.fixture
def no_network_loaded(monkeypatch):
    """Networks are loaded anew, as they are by the first fit of a process."""
    from specz_cnn.models import cache

    monkeypatch.setattr(cache, "_cache", {})


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("model", ["rnet-e", "rnet-pz", "rnet"])
def test_torch_set_to_double_precision(no_network_loaded, double_precision, model):
    result = specz_cnn.fit_redshift_cnn(PATH, model=model, device="cpu")
    torch.set_default_dtype(torch.float32)
    expected = specz_cnn.fit_redshift_cnn(PATH, model=model, device="cpu")
    assert abs(result.z - expected.z) < 1e-6
    assert result.z_err == pytest.approx(expected.z_err, rel=1e-4)


@pytest.mark.parametrize("model", ["rnet-e", "rnet-pz", "rnet"])
def test_random_numbers_of_a_seeded_script_stay_the_same(no_network_loaded, model):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    specz_cnn.fit_redshift_cnn(PATH, model=model, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
