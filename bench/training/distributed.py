"""Several processes on one training: started by torchrun, or this one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which process this is, of how many."""

    rank: int = 0
    world: int = 1


def place() -> Place:
    """Say where this process stands; alone outside of `processes`."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Place()
    return Place(rank=distributed.get_rank(), world=distributed.get_world_size())


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started, for the length of a `with` block.

    NCCL between GPUs, gloo on the CPU. Outside of torchrun nothing is joined.

    Args:
        device: `cpu` or `cuda`.

    Yields:
        This process's own device.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield torch.device(device)
        return
    own = torch.device(device)
    if own.type == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        distributed.destroy_process_group()


def spread(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network that is on its device, so that gradients and, on GPUs, batch norms are shared.

    Synchronised batch norm exists for GPUs alone; on the CPU each process has the statistics of its
    own images.
    """
    if place().world == 1:
        return network
    if device.type != "cuda":
        return DistributedDataParallel(network)
    # torch's own changes what timm's DenseNets compute.
    from timm.layers.norm_act import convert_sync_batchnorm

    synchronised = convert_sync_batchnorm(network)
    return DistributedDataParallel(synchronised, device_ids=[device])


def share_buffers(network: nn.Module) -> None:
    """Give all processes the running statistics of the first one, which are those that are saved."""
    if place().world > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def everywhere(number: int) -> tuple[int, ...]:
    """Return what each of the processes passes, by rank."""
    world = place().world
    if world == 1:
        return (number,)
    found = [0] * world
    distributed.all_gather_object(found, number)
    return tuple(found)
