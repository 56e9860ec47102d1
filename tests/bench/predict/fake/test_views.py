"""Views that are changed in place, on fake tensors: their memory is held against that of the same step on real ones."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.predict import fake
from bench.predict.live_memory import Meter


class Step(nn.Module):
    """A function of a map times a weight."""

    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.function(x * self.weight)


def changed_twice(x):
    view = x.flatten(2).transpose(1, 2)
    view.add_(1)
    return view.mul_(2).square()


def changed_and_used_by_two(x):
    view = x.flatten(2)
    view += 1
    return view.exp() + view.cos()


def changed_as_the_map_is_used(x):
    x[:, :4] = 0
    return x.exp()


def several_changed(x):
    views = [x.flatten(2).transpose(1, 2), x.exp().flatten(2)]
    torch._foreach_mul_(views, 2.0)
    return views[0].cos() + views[1].mT.cos()


def changed_without_gradient(x):
    with torch.no_grad():
        x.detach().flatten(2).relu_()
    return x.exp()


def a_copy_changed(x):
    return torch.relu_(x.cos()).exp()


STEPS = {
    "instance norm": lambda x: F.instance_norm(x).relu_(),
    "layer norm of channels": lambda x: (
        F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2).relu_()
    ),
    "some channels": lambda x: x[:, 2:5].mul_(3).exp(),
    "channels last": lambda x: x.to(memory_format=torch.channels_last).permute(0, 2, 3, 1).relu_(),
    "leaky": lambda x: F.leaky_relu(x.unflatten(1, (2, 4)), 0.1, inplace=True).sum(1),
    "dropped": lambda x: F.dropout(x.flatten(2), 0.5, inplace=True),
    "twice": changed_twice,
    "for two": changed_and_used_by_two,
    "its base is used": changed_as_the_map_is_used,
    "several": several_changed,
    "no gradient": changed_without_gradient,
    "no view": a_copy_changed,
}


def peak_bytes(module, x):
    """Peak of live tensors of a step beyond what stands."""
    with Meter() as meter:
        meter.hold([x, module.weight])
        meter.begin()
        module(x).sum().backward()
    return meter.peak_bytes - meter.standing_bytes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_through_a_changed_view_takes_what_a_real_one_takes(name, device):
    module, x = Step(STEPS[name]), torch.randn(2, 8, 16, 16)
    real_bytes = peak_bytes(module, x.clone())
    module.zero_grad()
    with fake.on(device):
        fake.replace_tensors(module, partial(fake.as_fake, device=device))
        assert peak_bytes(module, fake.as_fake(x, device)) == real_bytes
