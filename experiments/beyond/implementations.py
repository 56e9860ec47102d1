"""Implementations: one block computed in every way there is, in float32.

`python -m bench.ablations --experiment implementations`; on two CPU cores about eleven minutes, most of it
compilation and NB at 256x128. Blocks are Table 1's and DNL: C = 2048, 256 channels of key and value.
Expect NB through fused attention to need 1/20 of its memory at 256x128, and no kernels but `sdpa-math`
and `sdpa-flash` on a processor; a way that a machine does not have is a row that says so.

Of NB at 256x128, where a call takes a processor 15 s, and of compiled training it runs a choice; a GPU
runs all.
"""

from collections.abc import Iterator

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments import variants
from experiments.spec import Cell, Device, Experiment, Mode

NAME = "implementations"
FUSED = ("sdpa", "sdpa-math", "sdpa-efficient", "sdpa-flash", "sdpa-cudnn")
WAYS = ("chunked", "fast", "compiled", "fast-compiled")
ARMS = (
    "nb",
    *(f"nb:{way}" for way in (*FUSED, *WAYS, "onnxruntime")),
    "apnb",
    *(f"apnb:{way}" for way in (*WAYS, "onnxruntime")),
    "dnl",
    "dnl:sdpa",
    "dnl:fast",
)
SMALL, LARGE = Size(width=97, height=97), Size(width=256, height=128)
SETTINGS: tuple[tuple[Size, Mode], ...] = ((SMALL, "eval"), (LARGE, "eval"), (SMALL, "train"))
# What a processor runs too, where it would otherwise take it a quarter of an hour.
ON_PROCESSORS = {
    (LARGE, "eval"): ("nb", "nb:sdpa", "nb:chunked", "nb:fast", *ARMS[11:17]),
    (SMALL, "train"): (
        "nb",
        "nb:sdpa",
        "nb:chunked",
        "nb:fast",
        "apnb",
        "apnb:chunked",
        "apnb:fast",
    ),
}
BUDGET_S, TIME_LIMIT_S = 2.0, 300.0


def _device(arm: str, size: Size, mode: Mode) -> Device:
    return "auto" if arm in ON_PROCESSORS.get((size, mode), ARMS) else "cuda"


def _cells() -> Iterator[Cell]:
    for size, mode in SETTINGS:
        for arm in ARMS:
            name, implementation = variants.parse(arm)
            if mode == "train" and implementation == "onnxruntime":
                continue  # it has no backward pass
            yield Cell(
                experiment=NAME,
                axes={"block": arm, "size": str(size), "mode": mode},
                subject=BLOCKS[name],
                size=size,
                device=_device(arm, size, mode),
                mode=mode,
                implementation=implementation,
                budget_s=BUDGET_S,
                time_limit_s=TIME_LIMIT_S,
            )


EXPERIMENT = Experiment(
    name=NAME,
    question="What does a block cost in each way of computing it, and which attention kernel runs?",
    cells=tuple(_cells()),
)
