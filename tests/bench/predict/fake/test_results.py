"""Results of calls that are alike: laid out as torch's own, without asking its kernels again."""

import pytest
import torch
from torch import nn

from bench.predict import fake
from bench.predict.fake import results, shapes

ATEN = torch.ops.aten


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(results, "_plans", {})


@pytest.fixture
def asked(monkeypatch):
    """Operators whose kernels for meta tensors were asked, in order."""
    names = []

    def noted(func, *given, **settings):
        names.append(str(func))
        return shaped(func, *given, **settings)

    shaped = shapes.shaped
    monkeypatch.setattr(shapes, "shaped", noted)
    return names


def like(*shape, dtype=torch.float32):
    return fake.as_fake(torch.empty(shape, dtype=dtype, device="meta"), "cuda")


def layout(leaf, given):
    """What can be seen of a result: which tensor it is, in whose storage, and how it lies there."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    storages = [tensor.untyped_storage()._cdata for tensor in given]
    storage = leaf.untyped_storage()
    base = storages.index(storage._cdata) if storage._cdata in storages else None
    same = [leaf is tensor for tensor in given]
    lies = (leaf.shape, leaf.stride(), leaf.storage_offset(), storage.nbytes())
    return leaf.dtype, leaf.device, base, same, lies


def called_twice(call, *shapes_of):
    """What each of two calls gives that are alike, each on tensors of its own."""
    for _ in range(2):
        given = [like(*shape) for shape in shapes_of]
        result = call(*given)
        leaves = result if isinstance(result, tuple | list) else [result]
        yield type(result), [layout(leaf, given) for leaf in leaves]


CALLS = {
    "new": ATEN.relu,
    "in place": ATEN.relu_,
    "given back": ATEN.copy_,
    "a view": lambda x: ATEN.slice(x, 1, 1, 3),
    "turned": lambda x: ATEN.permute(x, [1, 0]),
    "several": lambda x: ATEN.var_mean.correction(x, [0]),
    "a list of views": lambda x: ATEN.split.Tensor(x, 2, 1),
    "of the second": lambda x, y: ATEN.expand(y[:1], list(x.shape)),
    "another type": lambda x: ATEN.gt.Scalar(x, 0),
    "channels last": lambda x: ATEN.upsample_bilinear2d(
        x[None, None].to(memory_format=torch.channels_last), [9, 9], False
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_known_gives_what_it_gave_at_first(name, asked):
    shapes_of = [(4, 6)] * (2 if name in ("given back", "of the second") else 1)
    with fake.on("cuda"):
        outcomes = called_twice(CALLS[name], *shapes_of)
        first = next(outcomes)
        kernels = len(asked)
        assert next(outcomes) == first
    assert kernels
    assert len(asked) == kernels


def test_a_second_pass_asks_no_kernel(asked):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Linear(6, 5)
    )
    net = fake.replace_tensors(net, lambda tensor: fake.as_fake(tensor, "cuda"))
    with fake.on("cuda"):
        for _ in range(2):
            kernels = len(asked)
            net(like(2, 3, 8, 8)).sum().backward()
            net.zero_grad()
    assert len(asked) == kernels


@pytest.mark.parametrize(
    ("number", "dtype"), [(1, torch.int64), (1.0, torch.float32), (True, torch.int64)]
)
def test_numbers_that_are_equal_are_told_apart_by_their_type(number, dtype):
    with fake.on("cuda"):
        for other in (1.0, True, 1):
            ATEN.add(like(3, dtype=torch.int64), other)
        assert ATEN.add(like(3, dtype=torch.int64), number).dtype == dtype


def test_the_default_type_is_part_of_a_call():
    with fake.on("cuda"):
        assert like(3, dtype=torch.int64).sqrt().dtype == torch.float32
        torch.set_default_dtype(torch.float64)
        try:
            assert like(3, dtype=torch.int64).sqrt().dtype == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)


def test_the_same_tensor_twice_is_another_call_than_two_alike():
    x = like(3)
    with fake.on("cuda"):
        keys = {fake.describe("op", [x, y]).key for y in (x, like(3), like(3))}
    assert len(keys) == 2


def test_what_has_values_is_asked_each_time(asked):
    with fake.on("cuda"):
        for value in (1, 2):
            kernels = len(asked)
            ATEN.add(like(3), torch.tensor(value))
            assert len(asked) > kernels


def test_a_call_with_something_unknown_has_no_key():
    assert fake.describe("op", [object()]).key is None
    assert fake.describe("op", torch.zeros(2).to_sparse()).key is None


def test_no_more_than_so_many_kinds_of_calls_are_kept(monkeypatch):
    monkeypatch.setattr(results, "MOST", 3)
    with fake.on("cuda"):
        for size in range(1, 9):
            ATEN.relu(like(size))
    assert 0 < len(results._plans) <= 3
