"""Simulated SDSS spectra with known redshifts."""

from __future__ import annotations

from specz_cnn.simulate.simulator import CLASSES, SimulatedBatch, SimulationConfig, Simulator

__all__ = ["CLASSES", "SimulatedBatch", "SimulationConfig", "Simulator"]
