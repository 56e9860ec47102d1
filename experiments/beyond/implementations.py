"""Implementations: one block computed in every way there is, in float32.

`python -m bench.ablations --experiment implementations`; on two CPU cores about eleven minutes, most of it compilation
and NB at 256x128. Blocks are Table 1's and DNL: C = 2048, 256 channels of key and value. Expect NB through fused
attention to need 1/20 of its memory at 256x128, and no kernels but `sdpa-math` and `sdpa-flash` on a processor; a way
that a machine does not have is a row that says so.

Of NB at 256x128, where a call takes a processor 15 s, and of compiled training it runs a choice; a GPU runs all, and
alone the kernels of `ann.kernels`, with AFNB beside them, bare and with its bottleneck.
"""

from ann.spec import Size
from experiments.spec import Cell, Experiment
from experiments.variants import grid

FUSED = ("sdpa", "sdpa-math", "sdpa-efficient", "sdpa-flash", "sdpa-cudnn")
WAYS = ("chunked", "fast", "compiled", "fast-compiled")
ARMS = (
    "nb",
    *(f"nb:{way}" for way in (*FUSED, *WAYS, "onnxruntime")),
    "apnb",
    *(f"apnb:{way}" for way in (*WAYS, "onnxruntime")),
    *("dnl", "dnl:sdpa", "dnl:fast"),
    "apnb:triton",
    *("afnb", "afnb:fast", "afnb:triton"),
    *("afnb-bottleneck", "afnb-bottleneck:fast", "afnb-bottleneck:triton"),
)
# Kernels, and AFNB to compare them with; what a new device is asked late.
AFNB = ARMS[ARMS.index("afnb") :]
ON_GPUS = ("apnb:triton", *AFNB)
SMALL, LARGE = Size(width=97, height=97), Size(width=256, height=128)
QUICK_NB = ("nb", "nb:sdpa", "nb:chunked", "nb:fast")
# What a processor runs too, where it would otherwise take it a quarter of an hour.
ON_PROCESSORS = {
    (LARGE, "eval"): (*QUICK_NB, *ARMS[ARMS.index("apnb") : ARMS.index("dnl")]),
    (SMALL, "train"): (*QUICK_NB, "apnb", "apnb:chunked", "apnb:fast"),
}
LIMITS = {"budget_s": 2.0, "time_limit_s": 300.0}


def _is_long(cell: Cell) -> bool:
    chosen = ON_PROCESSORS.get((cell.size, cell.mode), ARMS)
    return cell.name in ON_GPUS or cell.name not in chosen


def _order(cell: Cell) -> tuple[int, ...]:
    is_later = cell.implementation.endswith(("compiled", "onnxruntime")) or cell.name in AFNB
    return (4,) if (cell.size, cell.mode) == (LARGE, "eval") and not is_later else ()


EXPERIMENT = Experiment(
    name="implementations",
    question="What does a block cost in each way of computing it, and which attention kernel runs?",
    beyond_paper=True,
    order=_order,
    cells=tuple(
        cell
        for mode, sizes in (("eval", (SMALL, LARGE)), ("train", (SMALL,)))
        for cell in grid(
            "implementations",
            {"mode": (mode,), "size": sizes, "block": ARMS},
            on_gpu_alone=_is_long,
            **LIMITS,
        )
    ),
)
