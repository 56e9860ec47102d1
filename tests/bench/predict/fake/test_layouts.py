"""Layouts of results on fake tensors, held against those of the same call on real ones."""

from functools import partial
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._prims_common import suggest_memory_format

from bench.predict import fake
from bench.predict.fake import Mode, layouts, tensors

LAST = torch.channels_last
MAPS = {
    "contiguous": lambda: torch.randn(2, 16, 12, 12),
    "channels last": lambda: torch.randn(2, 16, 12, 12).to(memory_format=LAST),
    "tokens": lambda: torch.randn(2, 144, 16).transpose(1, 2).unflatten(2, (12, 12)),
    "transposed": lambda: torch.randn(2, 16, 12, 12).transpose(2, 3),
    "tokens of one image": lambda: torch.randn(144, 1, 16).permute(1, 2, 0).unflatten(2, (12, 12)),
    "one position": lambda: torch.randn(1, 16, 1, 1),
    "float64": lambda: torch.randn(2, 16, 12, 12).double().to(memory_format=LAST),
}


class Function(nn.Module):
    """A function of a map times a weight, so that there is a way back to something."""

    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.function(x * self.weight)


MODULES = {
    "convolution": lambda: nn.Conv2d(16, 8, 3, padding=1),
    "1x1": lambda: nn.Conv2d(16, 8, 1),
    "depthwise": lambda: nn.Conv2d(16, 16, 3, padding=1, groups=16),
    "dilated": lambda: nn.Conv2d(16, 8, 3, dilation=2, padding=2),
    "transposed": lambda: nn.ConvTranspose2d(16, 8, 2, stride=2),
    "weight channels last": lambda: nn.Conv2d(16, 8, 3, padding=1).to(memory_format=LAST),
    "1x1, weight channels last": lambda: nn.Conv2d(16, 8, 1).to(memory_format=LAST),
    "batch norm": lambda: nn.BatchNorm2d(16),
    "instance norm": lambda: nn.InstanceNorm2d(16, affine=True),
    "pixel shuffle": lambda: Function(nn.PixelShuffle(2)),
    "channel shuffle": lambda: Function(nn.ChannelShuffle(4)),
    "reflection": lambda: Function(nn.ReflectionPad2d(1)),
    "replication": lambda: Function(nn.ReplicationPad2d(1)),
    "roll": lambda: Function(lambda x: torch.roll(x, (1, 1), (2, 3))),
    "gated": lambda: Function(nn.GLU(1)),
    "log sigmoid": lambda: Function(nn.LogSigmoid()),
    "random leak": lambda: Function(nn.RReLU()),
    "squares": lambda: Function(lambda x: F.mse_loss(x, 2 * x, reduction="none")),
    "mean of squares": lambda: Function(lambda x: x * F.mse_loss(x, x.mean(1, True).expand_as(x))),
    "smooth mean": lambda: Function(lambda x: x * F.smooth_l1_loss(x, 2 * x)),
    "sum of margins": lambda: Function(
        lambda x: F.soft_margin_loss(x, x.sign().detach(), reduction="sum")
    ),
    "cross entropy": lambda: Function(
        lambda x: F.binary_cross_entropy(x.sigmoid(), x.sigmoid().detach())
    ),
    "unfolded": lambda: Function(nn.Unfold(3, padding=1)),
    "folded": lambda: Function(
        lambda x: F.fold(F.unfold(x, 2, stride=2) * 2, (12, 12), 2, stride=2)
    ),
    "smooth": lambda: Function(lambda x: F.smooth_l1_loss(x, 2 * x, reduction="none")),
    "upsampled": lambda: Function(nn.Upsample(scale_factor=2, mode="bilinear")),
    "pooled": lambda: Function(nn.AdaptiveAvgPool2d(5)),
    "maxima": lambda: Function(nn.MaxPool2d(2)),
    "grid": lambda: Function(
        lambda x: F.grid_sample(x, x.new_zeros(len(x), 6, 7, 2), align_corners=False)
    ),
}


if torch.torch_version.TorchVersion(torch.__version__) >= "2.15":
    MODULES["group norm"] = lambda: nn.GroupNorm(4, 16)


class Layouts(Mode):
    """Writes down what each operator returns."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def follow(self, func, args, kwargs):
        result = func(*args, **kwargs)
        # The stride of an axis of one place is anybody's.
        laid = [
            [stride for size, stride in zip(x.shape, x.stride(), strict=True) if size > 1]
            for x in tensors((result,))
        ]
        room = [x.untyped_storage().nbytes() for x in tensors((result,))]
        self.rows.append((str(func), [x.shape for x in tensors((result,))], laid, room))
        return result


def results(module, x, mode):
    with torch.set_grad_enabled(mode == "train"), Layouts() as seen:
        output = module(x)
        if mode == "train":
            torch.autograd.backward([output], [torch.ones_like(output)])
    return seen.rows


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("form", MAPS)
def test_results_lie_as_those_of_a_real_call(form, name, mode):
    x = MAPS[form]()
    module = MODULES[name]().to(x.dtype).train(mode == "train")
    try:
        real = results(module, x.clone(), mode)
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"torch does not do it: {error}")
    with fake.on("cpu"):
        replaced = fake.replace_tensors(module, partial(fake.as_fake, device="cpu"))
        assert results(replaced, fake.as_fake(x, "cpu"), mode) == real


@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(torch.float32, LAST), (torch.float16, LAST), (torch.float64, torch.contiguous_format)],
)
def test_a_gpus_convolution_keeps_channels_last_but_for_numbers_of_64_bits(dtype, layout):
    with fake.on("cuda"):
        x = torch.ones(2, 16, 8, 8, dtype=dtype, device="cuda").to(memory_format=LAST)
        weight = torch.ones(8, 16, 3, 3, dtype=dtype, device="cuda")
        assert F.conv2d(x, weight).is_contiguous(memory_format=layout)


SHAPES = (
    (2, 3, 4, 5),
    (1, 1, 4, 5),
    (2, 1, 1, 1),
    (2, 3, 1, 1),
    (0, 3, 4, 5),
    (2, 3, 2, 4, 5),
    (3, 4, 5),
)
AXES = {3: [(0, 2, 1)], 4: list(permutations(range(4))), 5: [(0, 4, 1, 2, 3), (0, 2, 3, 4, 1)]}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layout_is_guessed_from_strides_as_torch_does(shape):
    with torch.device("cpu"):
        whole = torch.zeros([2 * side for side in shape])
    halves = tuple(slice(0, side) for side in shape)
    for order in AXES[len(shape)]:
        back = sorted(range(len(order)), key=order.__getitem__)
        lying = torch.zeros([shape[axis] for axis in order]).permute(back)
        parts = (lying, whole[halves], whole[halves].permute(order), lying[:1].expand(shape))
        for each in parts if 0 not in shape else parts[:2]:
            assert layouts.suggested_layout(each) == suggest_memory_format(each), each.stride()


@pytest.mark.parametrize("hidden", [8, 48, 64])
@pytest.mark.parametrize("is_first", [True, False])
def test_what_an_lstm_keeps_for_the_way_back_is_what_the_processors_kernel_keeps(hidden, is_first):
    module, x = nn.LSTM(24, hidden, batch_first=is_first), torch.randn(4, 600, 24)

    def kept_bytes(module, x):
        with Layouts() as seen:
            module(x)
        (shapes,) = (shapes for name, shapes, *_ in seen.rows if "mkldnn_rnn_layer" in name)
        return shapes[3].numel()

    real = kept_bytes(module, x)
    with fake.on("cpu"):
        replaced = fake.replace_tensors(module, partial(fake.as_fake, device="cpu"))
        predicted = kept_bytes(replaced, fake.as_fake(x, "cpu"))
    assert predicted == pytest.approx(real, rel=0.01)


def test_oneDNN_is_asked_once_for_each_kind_of_lstm():
    layouts._workspace_bytes.cache_clear()
    for _ in range(2):
        layouts._workspace_bytes(8, 8, torch.float32)
    assert layouts._workspace_bytes.cache_info().misses == 1
