"""What makes a GPU wait for the host, seen on meta tensors, which stand for the device's."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Reading a value waits for all that was queued before it.
WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique")


class HostTraffic(TorchDispatchMode):
    """Lists operators that copy a tensor between host and device, or that wait for a value.

    A number without dimensions is no copy: it goes along as an argument of the kernel.
    """

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [
            leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)
        ]
        devices = {leaf.device.type for leaf in tensors if leaf.dim()}
        name = func.overloadpacket.__name__
        if len(devices) > 1 or name in WAITS:
            self.seen.append(name)
        return result


def traffic(call):
    """Host traffic of a call that is not the first one."""
    call()
    with HostTraffic() as watched:
        call()
    return watched.seen
