"""Counts of single calls, from a ledger."""

import torch

from bench.predict import ledger as flops


def entered(function, *inputs, grad=False):
    """Rows of the operators of a call, or of its way back from a gradient of ones."""
    ledger = flops.Ledger()
    if grad:
        made = function(*(x.clone().requires_grad_() for x in inputs))
        start = torch.ones_like(made)
        with ledger:
            made.backward(start)
    else:
        with ledger, torch.no_grad():
            function(*inputs)
    return ledger.operators


def counted(function, *inputs, grad=False):
    rows = entered(function, *inputs, grad=grad)
    assert [row.name for row in rows if row.status == "uncounted"] == []
    return sum(row.flops for row in rows)


def own_count(name, *inputs, **options):
    """FLOPs of one operator, left whole by inference mode, so known by this name alone."""
    ledger = flops.Ledger()
    with ledger, torch.inference_mode():
        getattr(torch.ops.aten, name)(*inputs, **options)
    (row,) = ledger.operators
    assert (row.name, row.status) == (f"aten.{name}", "counted")
    return row.flops
