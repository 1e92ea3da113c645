"""From correlations to p(z), for the packaged example."""

import matplotlib.pyplot as plt
import numpy as np
import torch

import specz_cnn
from specz_cnn import load_model
from specz_cnn.models.preprocess import standardise

network = load_model("rnet-e")
arrays = specz_cnn.read_arrays(specz_cnn.example_path())
flux, ivar = network.grid.rebin(arrays.loglam, arrays.flux, arrays.ivar)
with torch.inference_mode():
    x = standardise(flux[None], ivar[None])
    correlation = (network.lag_norm(network.correlate(network.features(x))) + network.lag_bias)[0].numpy()
    logits = network(x)[0, :-1].double()
result = specz_cnn.fit_redshift_cnn(arrays)
z = np.expm1(network.info.bins["step"] * (np.arange(network.n_bins) + 0.5))

figure, axes = plt.subplots(
    3, 1, figsize=(9, 5.4), sharex=True, layout="constrained", height_ratios=(1.5, 1, 1)
)
colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000")
for row, values in enumerate(correlation):
    axes[0].plot(z, values, lw=0.6, color=colours[row % 8], alpha=0.8)
axes[0].set_ylabel("correlations")
axes[1].plot(z, logits, lw=0.7, color="#0072B2")
axes[1].set_ylabel("logits")
axes[2].semilogy(result.z_grid, np.maximum(result.pdf, 1e-12), lw=0.9, color="#D55E00")
axes[2].set_ylim(1e-10, 2)
axes[2].set_ylabel("p(z), calibrated")
for axis in axes:
    axis.axvline(result.z, color="0.5", lw=0.7, ls=":")
axes[2].set_xlim(0, 7.1)
axes[2].set_xlabel("redshift")
