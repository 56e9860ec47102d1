import sys
import threading

import pytest

from ann.spec import BlockSpec, Size
from bench.records.record import Record
from bench.run import pool, ray_cluster
from experiments.spec import Cell

CELLS = [
    Cell(experiment="e", axes={"block": str(n)}, subject=BlockSpec(), size=Size(height=1, width=1))
    for n in range(7)
]


def made(cell, slot):
    return Record(
        source="measured",
        experiment="e",
        cell="c",
        subject=cell.name,
        axes={"slot": slot},
        size="1x1",
    )


def test_one_by_one_keeps_the_order():
    assert [item.subject for item in pool.in_order(CELLS, made)] == list("0123456")


def test_slots_do_every_cell_once():
    assert sorted(item.subject for item in pool.local(3)(CELLS, made)) == list("0123456")


def test_no_two_cells_at_once_have_the_same_slot():
    inside, clashes, lock = set(), [], threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def act(cell, slot):
        with lock:
            clashes.extend({slot} & inside)
            inside.add(slot)
        if cell.name in "01":
            both.wait()
        with lock:
            inside.discard(slot)
        return made(cell, slot)

    assert {item.axes["slot"] for item in pool.local(2)(CELLS, act)} == {0, 1}
    assert clashes == []


def test_a_single_slot_is_one_by_one():
    assert pool.local(1) is pool.in_order


def test_what_an_act_raises_reaches_the_caller():
    def act(cell, slot):
        msg = "wrong"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="wrong"):
        list(pool.local(2)(CELLS, act))


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="uv sync --group cluster"):
        ray_cluster.ray("cpu")
