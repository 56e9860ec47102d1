"""Blocks as people write them: what works in torch is executed and predicted, and trains as inside a network."""

import sys
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ann.spec import BlockSpec, Size
from bench.predict.predict import predict_cell
from bench.workloads import make_workload, unswitched, warm_device
from experiments.spec import Cell, OwnModule

C, SIZE = 4, Size(width=6, height=5)
N = SIZE.pixels


class Around(nn.Module):
    """A 1x1 convolution, with something done to what it gives."""

    def __init__(self, then=lambda y: y):
        super().__init__()
        self.conv, self.then = nn.Conv2d(C, C, 1), then

    def forward(self, x):
        return self.then(self.conv(x))


class Silent(Around):
    """`train` returns nothing, as in many backbones."""

    def train(self, mode=True):  # noqa: FBT002
        super().train(mode)


class OneSize(nn.Module):
    """For maps of one size, which its factory is told."""

    def __init__(self, height, width):
        super().__init__()
        self.table = nn.Parameter(torch.ones(C, height, width))

    def forward(self, x):
        return x + self.table


class Wired(OneSize):
    """For maps of one size, which it has wired in."""

    def __init__(self):
        super().__init__(SIZE.height, SIZE.width)


class Waves(Around):
    """Position code from numpy, and rates read out of a tensor while it is built."""

    def __init__(self):
        super().__init__()
        waves = torch.from_numpy(np.ones(C, np.float32))
        self.register_buffer("waves", waves[:, None, None])
        self.rates = [rate.item() for rate in torch.linspace(0.5, 1, 2)]

    def forward(self, x):
        return super().forward(x * self.waves * sum(self.rates))


class InferenceBuffer(Around):
    def __init__(self):
        super().__init__()
        with torch.inference_mode():
            self.register_buffer("scale", torch.ones(C, 1, 1))

    def forward(self, x):
        return super().forward(x) + self.scale


class Island(Around):
    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Unregistered(Around):
    """Layers in a plain list."""

    def __init__(self):
        super().__init__()
        self.others = [nn.Conv2d(C, C, 1)]

    def forward(self, x):
        return self.others[0](super().forward(x))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(C, C, dtype=torch.cfloat))

    def forward(self, x):
        mixed = torch.einsum("bchw,cd->bdhw", torch.fft.rfft2(x), self.weight)
        return torch.fft.irfft2(mixed, s=x.shape[-2:])


def lazy():
    return nn.Sequential(nn.LazyConv2d(C, 1), nn.LazyBatchNorm2d())


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is going away
        return torch.jit.script(nn.Conv2d(C, C, 1))


def exported(height, width):
    module = nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU())
    with torch.device("cpu"):
        program = torch.export.export(module.cpu(), (torch.zeros(2, C, height, width),))
    return program.module()


def graph(height, width):
    """A sparse matrix as a buffer."""
    count = height * width

    class Graph(Around):
        def __init__(self):
            super().__init__()
            places = torch.arange(count)
            places = torch.stack((places, (places + 1) % count))
            whole = torch.sparse_coo_tensor(places, torch.ones(count), (count, count))
            self.register_buffer("whole", whole.coalesce())

        def forward(self, x):
            mixed = [torch.sparse.mm(self.whole, one.flatten(1).T).T for one in x]
            return super().forward(torch.stack(mixed).reshape(x.shape))

    return Graph()


FACTORIES = {
    "silent": Silent,
    "lazy": lazy,
    "one_size": OneSize,
    "wired": Wired,
    "waves": Waves,
    "inference_buffer": InferenceBuffer,
    "island": Island,
    "unregistered": Unregistered,
    "complex": Complex,
    "scripted": scripted,
    "graph": graph,
    "frozen": lambda: nn.Conv2d(C, C, 1).requires_grad_(False),
    "doubles": lambda: nn.Conv2d(C, C, 1).double(),
    "parallel": lambda: nn.DataParallel(nn.Conv2d(C, C, 1)),
    "unchanged": nn.Identity,
    "grid": lambda: Around(lambda y: y + torch.linspace(-1, 1, y.shape[-1])),
    "recomputed": lambda: Around(lambda y: checkpoint(torch.relu, y, use_reentrant=True)),
    "mean": lambda: Around(lambda y: {"out": [y, y.mean()]}),
}


@pytest.fixture
def own(monkeypatch):
    """Cells of the factories above, or of another one."""

    def cell(factory, mode="eval", *, layout="nchw", inputs=1, **changes):
        makes = FACTORIES[factory] if isinstance(factory, str) else factory
        monkeypatch.setitem(sys.modules, "theirs", SimpleNamespace(make=makes))
        subject = OwnModule(factory="theirs:make", channels=C, layout=layout, inputs=inputs)
        fields = {"size": SIZE, "batch": 2, "device": "cpu", "probes": (), "mode": mode, **changes}
        return Cell(experiment="x", axes={}, subject=subject, **fields)

    with unswitched():
        yield cell


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", FACTORIES)
def test_what_works_in_torch_is_executed_and_predicted(own, name, mode):
    cell = own(name, mode)
    warm_device(cell, "cpu")
    make_workload(cell, "cpu")()
    measures = predict_cell(cell)
    assert measures.counts is not None
    assert measures.predicted is not None


def test_an_exported_program_is_executed_in_its_one_mode(own):
    make_workload(own(exported), "cpu")()


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("nchw", (2, C, 5, 6)), ("nlc", (2, N, C)), ("nhwc", (2, 5, 6, C))],
)
def test_a_block_gets_its_maps_in_its_layout(own, layout, shape):
    cell = own(lambda: nn.Linear(shape[-1], 3, bias=False), layout=layout)
    work = make_workload(cell, "cpu")
    assert [tuple(item.shape) for item in work.inputs] == [shape]
    assert predict_cell(cell).counts.macs == work.inputs[0].numel() * 3


def test_a_block_of_several_maps_gets_them(own):
    class Fusion(nn.Module):
        def forward(self, first, second):
            return first @ second.mT

    cell = own(Fusion, layout="nlc", inputs=2)
    work = make_workload(cell, "cpu")
    assert [tuple(item.shape) for item in work.inputs] == [(2, N, C)] * 2
    work()
    assert predict_cell(cell).counts.macs == 2 * N * N * C


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", torch.complex64),
        ("float64", torch.complex128),
        ("bfloat16", torch.complex64),
        ("float16", torch.complex64),
    ],
)
def test_complex_weights_stay_complex(own, dtype, expected):
    (weight,) = make_workload(own("complex", dtype=dtype), "cpu").module.parameters()
    assert weight.dtype is expected
    assert weight.imag.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_weights_are_executed_as_predicted(own, dtype):
    cell = own("complex", dtype=dtype)
    make_workload(cell, "cpu")()
    counts = predict_cell(cell).counts
    assert counts.parameters == C * C


def gradients(work):
    """Which inputs get a gradient in one call."""
    seen = []
    for place, item in enumerate(work.inputs):
        if item.requires_grad:
            item.register_hook(lambda _, place=place: seen.append(place))
    work()
    return seen


def test_training_an_own_block_goes_back_to_its_inputs(own):
    work = make_workload(own(lambda: nn.Bilinear(C, C, 3), "train", layout="nlc", inputs=2), "cpu")
    assert sorted(gradients(work)) == [0, 1]
    assert [item.grad for item in work.inputs] == [None, None]


def test_inference_asks_for_no_gradient(own):
    assert gradients(make_workload(own("silent"), "cpu")) == []


def test_a_block_by_name_is_trained_as_it_was_unless_it_is_asked(own):
    fields = {"size": SIZE, "mode": "train", "batch": 2}
    spec = BlockSpec(channels=C, key_channels=2)
    cell = Cell(experiment="x", axes={}, subject=spec, **fields)
    other = Cell(experiment="x", axes={}, subject=spec, input_gradient=True, **fields)
    assert gradients(make_workload(cell, "cpu")) == []
    assert gradients(make_workload(other, "cpu")) == [0]
    assert cell.id != other.id
    # Projections of query, key and value have one product more; the query's is the key's, made again.
    projections = (2 * spec.key_channels + spec.value_width) * C
    less, more = (predict_cell(each).counts.macs for each in (cell, other))
    assert more - less == 2 * N * projections


def test_the_inputs_gradient_is_counted_and_predicted(own):
    counts = predict_cell(own(lambda: nn.Conv2d(C, C, 1, bias=False), "train")).counts
    assert counts.macs == 3 * 2 * N * C * C
    bare = predict_cell(own(nn.ReLU, "train"))
    made = [item for item in bare.predicted.live if item.shape == (2, C, 5, 6)]
    assert len(made) >= 2  # the output, and the gradient


@dataclass
class Answer:
    main: torch.Tensor
    others: list


@pytest.mark.parametrize(
    "form",
    [
        lambda y, z: (y, z),
        lambda y, z: [y, [z]],
        lambda y, z: {"out": y, "aux": {"z": z}},
        lambda y, z: Answer(y, [z]),
        lambda y, z: (y, torch.complex(z, z)),
        lambda y, z: (y.to_sparse(), z),
    ],
    ids=["flat", "nested", "named", "dataclass", "complex", "sparse"],
)
def test_training_goes_back_through_every_output(own, form):
    seen = []

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.auxiliary = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 1)

        def forward(self, x):
            outputs = self.main(x), self.auxiliary(x)
            for name, output in zip(("main", "auxiliary"), outputs, strict=True):
                output.register_hook(lambda _, name=name: seen.append(name))
            return form(*outputs)

    work = make_workload(own(Deep, "train"), "cpu")
    work()
    assert sorted(seen) == ["auxiliary", "main"]


def test_without_a_tensor_there_is_nothing_to_train(own):
    work = make_workload(own(lambda: Around(lambda _: {"name": "x"}), "train"), "cpu")
    with pytest.raises(ValueError, match="returned dict without a floating-point tensor"):
        work()


def test_attention_of_torch_runs_by_the_operators_that_are_predicted(own):
    cell = own(lambda: nn.TransformerEncoderLayer(C, 2, 8, batch_first=True), layout="nlc")
    work = make_workload(cell, "cpu")
    with torch.profiler.profile(acc_events=True) as profile:
        work()
    assert "aten::_transformer_encoder_layer_fwd" not in {row.key for row in profile.key_averages()}
    names = {row.name for row in predict_cell(cell).counts.ledger}
    assert "aten._transformer_encoder_layer_fwd" not in names


def test_the_attention_of_torch_is_as_before_when_a_cell_is_done():
    before = torch.backends.mha.get_fastpath_enabled()
    with unswitched():
        torch.backends.mha.set_fastpath_enabled(not before)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_weights_without_values_are_refused(own):
    with pytest.raises(
        ValueError, match="has weights on meta, which hold no values; make them on cpu"
    ):
        make_workload(own(lambda: nn.Conv2d(C, C, 1).to("meta")), "cpu")


def test_a_warm_up_never_calls_a_block_at_another_size(own):
    sizes = []

    class Seeing(nn.Module):
        def forward(self, x):
            sizes.append(x.shape)
            return x

    warm_device(own(Seeing, "train", batch=1), "cpu")
    make_workload(own(Seeing, "train", batch=1), "cpu")()
    assert set(sizes) == {(1, C, 5, 6)}


def test_what_is_compiled_is_predicted_as_it_was_written(own):
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    assert (
        predict_cell(own(lambda: torch.compile(Around(), backend=backend))).counts.macs
        == 2 * N * C * C
    )
    assert compiled == []


def test_what_returns_no_module_is_told_how_it_was_called(own):
    with pytest.raises(ValueError, match=r"make\(channels=4\) of 'theirs:make' returned int"):
        make_workload(own(lambda channels: 3), "cpu")
