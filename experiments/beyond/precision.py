"""Number formats: time and memory of NB and APNB, as written and as best computed, in each format.

`python -m bench.ablations --experiment precision`; on two CPU cores about seven minutes. Blocks are
Table 1's: C = 2048, 256 channels of key and value. Expect plain NB under bfloat16 autocast to need more
memory on a GPU than in float32: 10288 MiB against 8288 at 256x128 (6208 under float16 autocast). CUDA has
a softmax that reads float16 and writes float32, and none such for bfloat16, so that the whole map is
first copied to float32. With fused attention there is no map and autocast saves what it should.

A processor runs 97x97, though it does not train in float16, of which it has hardly more than
conversions (a step of NB takes over 30 s), nor through fused attention but in float32, which takes it
four times as long as the plain block: its backward pass is not split among threads within a head. At
256x128 memory is predicted by CUDA's rules, and measured where there is such a GPU.
"""

from collections.abc import Iterator

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments import variants
from experiments.spec import Cell, Device, Dtype, Experiment, Mode

NAME = "precision"
ARMS = ("nb", "nb:sdpa", "apnb", "apnb:fast")
DTYPES: tuple[Dtype, ...] = (
    "float32",
    "tf32",
    "autocast-float16",
    "autocast-bfloat16",
    "float16",
    "bfloat16",
)
HALF = ("float16", "autocast-float16")
MODES: tuple[Mode, ...] = ("eval", "train")
SMALL, LARGE = Size(width=97, height=97), Size(width=256, height=128)
BUDGET_S, TIME_LIMIT_S = 2.0, 180.0


def _device(arm: str, size: Size, dtype: Dtype, mode: Mode) -> Device:
    if size == LARGE:
        return "cuda"
    slow = mode == "train" and (dtype in HALF or (arm == "nb:sdpa" and dtype != "float32"))
    return "cuda" if slow else "auto"


def _cells() -> Iterator[Cell]:
    for size in (SMALL, LARGE):
        for mode in MODES:
            for arm in ARMS:
                name, implementation = variants.parse(arm)
                for dtype in DTYPES:
                    yield Cell(
                        experiment=NAME,
                        axes={"block": arm, "size": str(size), "mode": mode, "dtype": dtype},
                        subject=BLOCKS[name],
                        size=size,
                        dtype=dtype,
                        device=_device(arm, size, dtype, mode),
                        mode=mode,
                        implementation=implementation,
                        budget_s=BUDGET_S,
                        time_limit_s=TIME_LIMIT_S,
                    )


EXPERIMENT = Experiment(
    name=NAME,
    question="What do shorter number formats save of time and memory, with and without fused attention?",
    cells=tuple(_cells()),
)
