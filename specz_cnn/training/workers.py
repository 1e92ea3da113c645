"""Several processes, on one machine or many, that train one network: PyTorch's DistributedDataParallel under ``torchrun``.

Every worker draws its own share of each batch; gradients are averaged, so that all hold the same parameters.  A run without
``torchrun`` is a run of one worker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import nn

__all__ = ["Workers", "join_workers"]


@dataclass(frozen=True)
class Workers:
    """One of the processes of a training.

    Parameters
    ----------
    rank : int
        Its number.
    size : int
        How many there are.
    device : str
        Where it computes: with CUDA, a GPU of its own.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self):
        """Whether this is the worker that writes files and talks."""
        return self.rank == 0

    def share(self, n):
        """How many of ``n`` examples are this worker's."""
        return n * (self.rank + 1) // self.size - n * self.rank // self.size

    def parallel(self, module):
        """A module whose gradients are averaged over the workers."""
        if self.size == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        ids = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def mean(self, value):
        """Mean of a number over the workers."""
        if self.size == 1:
            return value
        total = torch.tensor([float(value)], dtype=torch.float32, device=self.device)
        torch.distributed.all_reduce(total)
        return total.item() / self.size

    def agree(self, flag):
        """What the first worker says, for all."""
        return bool(self.same(flag))

    def same(self, value):
        """The number that the first worker has, for all."""
        if self.size == 1:
            return float(value)
        said = torch.tensor([float(value)], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(said, 0)
        return said.item()

    def wait(self):
        """Until all are here."""
        if self.size > 1:
            torch.distributed.barrier()

    def leave(self):
        """End the common work."""
        if self.size > 1:
            torch.distributed.destroy_process_group()


def join_workers(device="cpu"):
    """Join the other workers that ``torchrun`` has started, if it has.

    Parameters
    ----------
    device : str
        ``"cpu"`` (gloo) or ``"cuda"`` (nccl): then each worker of a machine takes a GPU.

    Returns
    -------
    Workers
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Workers(device=device)
    if device == "cuda":
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
        torch.cuda.set_device(device)
    kind = "nccl" if device.startswith("cuda") else "gloo"
    # The first worker downloads and reads spectra for all, which takes hours.
    torch.distributed.init_process_group(kind, timeout=timedelta(days=2))
    return Workers(int(os.environ["RANK"]), size, device)
