"""Distributed training: the processes that torchrun started, or this one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class ProcessPlace(NamedTuple):
    """Which process this is, of how many."""

    rank: int = 0
    world: int = 1


def place() -> ProcessPlace:
    """Say where this process stands; alone outside of `processes`."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ProcessPlace()
    return ProcessPlace(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started, by NCCL between GPUs and gloo on the CPU; yields this one's device.

    Outside of torchrun nothing is joined.
    """
    local = torch.device(device)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield local
        return
    if local.type == "cuda":
        local = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if local.type == "cuda" else "gloo")
    try:
        yield local
    finally:
        distributed.destroy_process_group()


def wrap_distributed(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network that is on its device, so that gradients and, on GPUs, batch norms are shared.

    Synchronised batch norm exists for GPUs alone; on the CPU each process has the statistics of its own images.
    """
    if place().world == 1:
        return network
    if device.type != "cuda":
        return DistributedDataParallel(network)
    # torch's own changes what timm's DenseNets compute.
    from timm.layers.norm_act import convert_sync_batchnorm

    return DistributedDataParallel(convert_sync_batchnorm(network), device_ids=[device])


def broadcast_buffers(network: nn.Module) -> None:
    """Give all processes the running statistics of the first one, which are those that are saved."""
    if place().world > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def gather_numbers(number: int) -> tuple[int, ...]:
    """Return what each of the processes passes, by rank."""
    if place().world == 1:
        return (number,)
    numbers = [0] * place().world
    distributed.all_gather_object(numbers, number)
    return tuple(numbers)
