"""Number formats: time and memory of NB and APNB, as written and as best computed, in each format.

`python -m bench.ablations --experiment precision`; on two CPU cores about seven minutes. Blocks are Table 1's: C =
2048, 256 channels of key and value. Expect plain NB under bfloat16 autocast to need more memory on a GPU than in
float32: 10288 MiB against 8288 at 256x128 (6208 under float16 autocast). CUDA has a softmax that reads float16 and
writes float32, and none such for bfloat16, so that the whole map is first copied to float32. With fused attention there
is no map and autocast saves what it should.

A processor runs 97x97, though it does not train in float16, of which it has hardly more than conversions (a step of NB
takes over 30 s), nor through fused attention but in float32, which takes it four times as long as the plain block: its
backward pass is not split among threads within a head. At 256x128 memory is predicted by CUDA's rules, and measured
where there is such a GPU.
"""

from ann.spec import Size
from experiments.spec import Cell, Experiment
from experiments.variants import grid

SMALL, LARGE = Size(width=97, height=97), Size(width=256, height=128)
AXES = {
    "size": (SMALL, LARGE),
    "mode": ("eval", "train"),
    "block": ("nb", "nb:sdpa", "apnb", "apnb:fast", "apnb:triton"),
    "dtype": ("float32", "tf32", "autocast-float16", "autocast-bfloat16", "float16", "bfloat16"),
}


def _is_long(cell: Cell) -> bool:
    is_slow = cell.dtype in ("float16", "autocast-float16") or (
        cell.name == "nb:sdpa" and cell.dtype != "float32"
    )
    is_for_gpu = cell.size == LARGE or cell.implementation == "triton"
    return is_for_gpu or (cell.mode == "train" and is_slow)


def _order(cell: Cell) -> tuple[int, ...]:
    if cell.size != LARGE or cell.mode != "eval":
        return ()
    if cell.implementation == "triton" and cell.dtype.startswith("autocast"):
        return ()
    return (2, 0) if cell.name in ("nb", "apnb") else (5,)


EXPERIMENT = Experiment(
    name="precision",
    question="What do shorter number formats save of time and memory, with and without fused attention?",
    beyond_paper=True,
    order=_order,
    cells=tuple(grid("precision", AXES, on_gpu_alone=_is_long, budget_s=2.0, time_limit_s=180.0)),
)
