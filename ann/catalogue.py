"""The named blocks and networks, each as the document or repository that it comes from has it."""

from dataclasses import replace

from ann.spec import BlockSpec, NetworkSpec, Size

PYRAMID = (1, 3, 6, 8)

# The blocks of the released efficiency scripts: W_o of the mixed values, neither residual nor concatenation
# (MendelXu/ANN, efficiency_statics/block). Table 1 measures them at C = 2048.
_NB = BlockSpec(channels=2048, key_channels=256)
_APNB = replace(_NB, sampler="pyramid-average", grids=PYRAMID)
_FNB = replace(_NB, low_channels=1024, projection="separate")
_AFNB = replace(_FNB, sampler="pyramid-average", grids=PYRAMID)
# mmcv's NonLocal2d: bare projections, batch norm after W_o, residual (mmcv/cnn/bricks/non_local.py).
_NL = BlockSpec(channels=512, projection="plain", output="residual", out_norm=True, norm_bias=False)


def _forms(name: str, spec: BlockSpec, *, bottleneck_relu: bool) -> dict[str, BlockSpec]:
    return {
        name: spec,
        f"{name}-residual": replace(spec, output="residual"),
        f"{name}-concat": replace(spec, output="concat"),
        f"{name}-bottleneck": replace(
            spec, output="bottleneck", bottleneck_relu=bottleneck_relu, dropout=0.05
        ),
    }


BLOCKS: dict[str, BlockSpec] = {
    **_forms("nb", _NB, bottleneck_relu=True),
    **_forms("apnb", _APNB, bottleneck_relu=True),
    **_forms("fnb", _FNB, bottleneck_relu=False),
    **_forms("afnb", _AFNB, bottleneck_relu=False),
    "common-fusion": BlockSpec(kind="common-fusion", channels=2048, low_channels=1024),
    "nl": _NL,
    "dnl": replace(_NL, kind="disentangled", temperature=0.05),
}

# MendelXu/ANN as released, without its two blocks: the paper says of its baseline only "FCN-like" with deep
# supervision (section 4.4), and that stands in the place of the blocks in the released code.
_OFFICIAL_NETWORK = NetworkSpec(
    backbone="resnet101s-ceil",
    norm_bias=True,
    dropout=0.0,
    auxiliary_channels=512,
    auxiliary_dropout=0.05,
    align_corners=True,
    preprocessing="caffe-bgr",
)
_FUSION_BLOCKS = {
    "common-fusion": BLOCKS["common-fusion"],
    "fnb": BLOCKS["fnb-bottleneck"],
    "afnb": BLOCKS["afnb-bottleneck"],
}
_CONTEXT_BLOCKS = {
    "nb": replace(BLOCKS["nb-bottleneck"], channels=512),
    "apnb": replace(BLOCKS["apnb-bottleneck"], channels=512),
}


def _paper(name: str) -> NetworkSpec:
    """Read a row of Table 6, such as `fnb+nb`.

    The paper leaves open where a context block sits when there is no fusion; here it is on the 512 channels after the
    reduction, as in the released network. AFNB and FNB alone keep the released form; the authors say in the threads
    of their repository that AFNB alone wants a batch norm after W_o, which is `out_norm=True` of the block's spec.
    """
    parts = name.split("+")
    fusion = next((_FUSION_BLOCKS[part] for part in parts if part in _FUSION_BLOCKS), None)
    context = next((_CONTEXT_BLOCKS[part] for part in parts if part in _CONTEXT_BLOCKS), None)
    return replace(_OFFICIAL_NETWORK, fusion=fusion, context=context)


_PAPER_ROWS = (
    *("baseline", "nb", "apnb", "common-fusion", "fnb", "afnb"),
    *("common-fusion+nb", "fnb+nb", "afnb+apnb"),
)

# open-mmlab/mmsegmentation 1.2.2, configs/_base_/models/*_r50-d8.py.
_MMSEG_BASE = NetworkSpec(backbone="resnet50c", initialisation="mmseg")
_MMSEG_HEADS: dict[str, NetworkSpec] = {
    "ann": replace(
        _MMSEG_BASE,
        fusion=replace(BLOCKS["afnb-bottleneck"], norm_bias=False, dropout=0.0),
        context=replace(BLOCKS["apnb-bottleneck"], channels=512, norm_bias=False, dropout=0.0),
    ),
    "dnl": replace(_MMSEG_BASE, head="fcn", context=BLOCKS["dnl"]),
    "nl": replace(_MMSEG_BASE, head="fcn", context=BLOCKS["nl"]),
    "psa": replace(_MMSEG_BASE, head="psa", mask=Size(height=97, width=97), projection_padding=1),
    "psp": replace(_MMSEG_BASE, head="psp"),
    "deeplabv3": replace(_MMSEG_BASE, head="deeplabv3"),
}
_DENSE_ASPP_WIDTHS = {"121": (128, 64), "161": (512, 128), "169": (336, 168), "201": (480, 240)}

NETWORKS: dict[str, NetworkSpec] = {
    **{f"paper/{row}": _paper(row) for row in _PAPER_ROWS},
    "official/ann-r101": _paper("afnb+apnb"),
    **{
        f"mmseg/{head}-r{depth}": replace(spec, backbone=f"resnet{depth}c")
        for head, spec in _MMSEG_HEADS.items()
        for depth in (50, 101)
    },
    # hszhao/semseg. Table 2's size (1025x2049 images, hence 129x257 places); for its training crop of 705 pixels the
    # mask is 89x89.
    "semseg/psanet-r101": NetworkSpec(
        backbone="resnet101s-uncontracted",
        head="psa",
        mask=Size(height=129, width=257),
        align_corners=True,
    ),
    # DeepMotionAIResearch/DenseASPP, cfgs/. Written for a torch whose bilinear upsampling kept the corners; it has no
    # auxiliary head.
    **{
        f"denseaspp/{depth}": NetworkSpec(
            backbone=f"densenet{depth}",
            head="dense-aspp",
            hidden_channels=hidden,
            channels=channels,
            auxiliary_channels=None,
            align_corners=True,
        )
        for depth, (hidden, channels) in _DENSE_ASPP_WIDTHS.items()
    },
}
