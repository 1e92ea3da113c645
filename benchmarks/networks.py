"""How fast the networks are, against what they would be in plain PyTorch, and against the machine.

Times each network from rebinned spectra (flux, ivar) to its output: standardising, and the network as published (plain
eager modules with `torch.nn.Conv1d`), as trained, and prepared for inference.  The variants alternate, so that whatever
else the machine does slows all of them alike.  Times are the best of the repetitions.

    python benchmarks/networks.py [--device cpu cuda] [--threads 2] [--markdown]
"""

from __future__ import annotations

import argparse
import copy
import platform
import time

import torch
from torch import nn

from specz_cnn.models import model_info
from specz_cnn.models.fftconv import FFTConv1d
from specz_cnn.models.inference import prepare_for_inference
from specz_cnn.models.network import architectures
from specz_cnn.models.preprocess import standardise
from specz_cnn.models.rnet_e import RNetE

NETWORKS = "rnet", "rnet-pz", "rnet-e"
N_PIXELS = 1212


def published(network):
    """The network with plain convolutions in place of those through the FFT."""
    network = copy.deepcopy(network)
    for layer in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        for i, module in enumerate(layer):
            if isinstance(module, FFTConv1d):
                layer[i] = nn.Conv1d(module.in_channels, module.out_channels, module.kernel_size[0])
                layer[i].load_state_dict(module.state_dict())
    return network


def direct_flops(network):
    """Floating-point operations per spectrum of the convolutions, products and correlations, computed directly."""
    total, hooks = [0], []

    def count(module, _, out):
        positions = out.shape[-1] if isinstance(module, nn.Conv1d) else 1
        total[0] += 2 * module.weight.numel() * positions

    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            hooks.append(module.register_forward_hook(count))
    network(torch.zeros(1, 2, N_PIXELS))
    for hook in hooks:
        hook.remove()
    if isinstance(network, RNetE):
        # Of the correlation, only its cost through the FFT makes sense to count.
        total[0] += correlation_flops(network)
    return total[0]


def fft_flops(n, complex_input=False):
    """The customary count: 5 n log2(n) for a complex transform, half of it for a real one."""
    import math

    return (5.0 if complex_input else 2.5) * n * math.log2(n)


def correlation_flops(network):
    """Of RNet-E's correlation through the FFT: transforms of the features, products, transforms back."""
    n_templates, n_features, _ = network.templates.shape
    n_templates, n_fft = n_templates * network.stride, network.n_fft
    return (n_templates + n_features) * fft_flops(n_fft) + 8 * (n_fft // 2 + 1) * n_templates * n_features


def inference_flops(network):
    """Floating-point operations per spectrum as computed by the prepared network."""
    if isinstance(network, RNetE):
        return direct_flops(network)
    prepared = prepare_for_inference(network)
    total = sum(2 * m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))
    for layer, name in zip(prepared.layers, ("layer1", "layer2", "layer3"), strict=True):
        convolution = network.get_submodule(name)[0]
        n_in, n_out = convolution.in_channels, convolution.out_channels
        total += (n_in + n_out) * fft_flops(layer.n_fft) + 8 * (layer.n_fft // 2 + 1) * n_in * n_out
    return total


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def alternate(functions, device, repeats, warm_up=2):
    """Best wall-clock time in seconds of each function, called in turn."""
    best = dict.fromkeys(functions, float("inf"))
    for repeat in range(repeats + warm_up):
        for name, function in functions.items():
            synchronise(device)
            start = time.perf_counter()
            function()
            synchronise(device)
            if repeat >= warm_up:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def peak_flops(device, repeats):
    """Best single-precision rate of a matrix product, operations per second."""
    n = 1024 if device == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    return 2 * n**3 / alternate({"product": lambda: a @ b}, device, repeats)["product"]


def from_arrays(network, device):
    """A function from flux and ivar to the network's output, back on the CPU."""

    def run(flux, ivar):
        x = standardise(flux, ivar)
        if device == "cuda":
            x = x.pin_memory().to(device, non_blocking=True)
        return network(x).cpu()

    return run


def measure(device, batches, repeats):
    """One row per network and batch size: spectra per second of each variant, fraction of the peak reached."""
    peak = peak_flops(device, 3 * repeats)
    rows = []
    for name in NETWORKS:
        torch.manual_seed(0)
        info = model_info(name)
        network = architectures()[info.architecture](**info.arguments).eval()
        variants = {"published": published(network), "trained": network}
        variants["prepared"] = prepare_for_inference(copy.deepcopy(network).to(device))
        operations, done = direct_flops(network), inference_flops(network)
        variants = {k: from_arrays(v.to(device), device) for k, v in variants.items()}
        for batch in batches:
            flux, ivar = 1 + torch.rand(batch, N_PIXELS), torch.rand(batch, N_PIXELS)
            functions = {k: (lambda run=run, f=flux, i=ivar: run(f, i)) for k, run in variants.items()}
            best = alternate(functions, device, repeats if batch > 1 else 5 * repeats)
            rate = {k: batch / seconds for k, seconds in best.items()}
            rows.append(
                {
                    "device": device,
                    "network": name,
                    "batch": batch,
                    **{f"{k}/s": round(v) for k, v in rate.items()},
                    "ratio": round(rate["prepared"] / rate["published"], 2),
                    "Mflop direct": round(operations / 1e6, 1),
                    "Mflop": round(done / 1e6, 1),
                    "% of peak": round(100 * rate["prepared"] * done / peak),
                    "% direct": round(100 * rate["prepared"] * operations / peak),
                }
            )
    return peak, rows


def show(rows, markdown):
    names = list(rows[0])
    widths = [max(len(n), *(len(str(row[n])) for row in rows)) for n in names]
    separator = " | " if markdown else "  "
    lines = [names, ["-" * w for w in widths], *([row[n] for n in names] for row in rows)]
    for line in lines:
        text = separator.join(str(v).rjust(w) for v, w in zip(line, widths, strict=True))
        print(f"| {text} |" if markdown else text)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--device", nargs="+", choices=("cpu", "cuda"), default=devices)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64, 512])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--markdown", action="store_true", help="a table for the documentation")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    for device in args.device:
        if device == "cuda" and not torch.cuda.is_available():
            print("cuda: no such device, skipped")
            continue
        with torch.inference_mode():
            peak, rows = measure(device, args.batch, args.repeats)
        machine = (
            torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
        )
        print(
            f"{machine}, {args.threads} threads, torch {torch.__version__}, Python {platform.python_version()}"
        )
        print(f"measured float32 peak (matrix product): {peak / 1e9:.0f} Gflop/s")
        show(rows, args.markdown)
        for name in NETWORKS:
            mine = [row for row in rows if row["network"] == name]
            best = max(row["published/s"] for row in mine), max(row["prepared/s"] for row in mine)
            print(
                f"{name}: {best[1]}/s at its best batch, {best[1] / best[0]:.2f} times the plain module at its best"
            )


if __name__ == "__main__":
    main()
