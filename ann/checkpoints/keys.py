"""How the published checkpoints name what our networks hold: one table of renamings a layout, read from our side.

A table is a sequence of (pattern, replacement) applied one after the other to a key of our `state_dict`. It serves both
directions: reading looks up the renamed key in the file, writing stores under it.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ann.blocks import NonLocal
from ann.checkpoints.advice import shown
from ann.spec import NetworkSpec, look_up

Renamings = tuple[tuple[str, str], ...]

_OFFICIAL_STEM: Renamings = (
    (r"^backbone\.conv1\.0\.", "backbone.prefix.conv1."),
    (r"^backbone\.conv1\.1\.", "backbone.prefix.bn1."),
    (r"^backbone\.conv1\.3\.", "backbone.prefix.conv2."),
    (r"^backbone\.conv1\.4\.", "backbone.prefix.bn2."),
    (r"^backbone\.conv1\.6\.", "backbone.prefix.conv3."),
    (r"^backbone\.bn1\.", "backbone.prefix.bn3."),
)
_OFFICIAL_KEYS: Renamings = (
    (r"^(head\.\w+)\.(key|query)\.conv\.", r"\1.stages.0.f_\2.0."),
    (r"^(head\.\w+)\.(key|query)\.norm\.", r"\1.stages.0.f_\2.1.0."),
    (r"^(head\.\w+)\.value\.", r"\1.stages.0.f_value."),
    (r"^(head\.\w+)\.out\.", r"\1.stages.0.W."),
    (r"^(head\.\w+)\.combine\.bottleneck\.conv\.", r"\1.conv_bn_dropout.0."),
    # The fusion's bottleneck has a bare norm, the context's one with a ReLU in a module of both.
    (r"^head\.fusion\.combine\.bottleneck\.norm\.", "head.fusion.conv_bn_dropout.1."),
    (r"^head\.context\.combine\.bottleneck\.norm\.", "head.context.conv_bn_dropout.1.0."),
    (r"^head\.fusion\.", "fusion."),
    (r"^head\.context\.", "context.2."),
    (r"^head\.reduce\.conv\.", "context.0."),
    (r"^head\.reduce\.norm\.", "context.1.0."),
    (r"^head\.classifier\.", "cls."),
    (r"^auxiliary\.reduce\.conv\.", "dsn.0."),
    (r"^auxiliary\.reduce\.norm\.", "dsn.1.0."),
    (r"^auxiliary\.classifier\.", "dsn.3."),
)
_MMSEG_STEM: Renamings = (
    (r"^backbone\.conv1\.(\d)\.", r"backbone.stem.\1."),
    (r"^backbone\.bn1\.", "backbone.stem.7."),
)
_MMSEG_KEYS: Renamings = (
    (r"^(head\..*|auxiliary\..*)\.norm\.", r"\1.bn."),
    (r"^(head|auxiliary)\.classifier\.", r"\1.conv_seg."),
    (r"^auxiliary\.reduce\.", "auxiliary.convs.0."),
    (r"^auxiliary\.", "auxiliary_head."),
    (r"^head\.(fusion|context)\.combine\.", r"head.\1."),
    (r"^head\.", "decode_head."),
)
_MMSEG_HEAD_KEYS: dict[str, Renamings] = {
    "ann": (
        (r"^decode_head\.reduce\.", "decode_head.bottleneck."),
        (r"(\.fusion|\.context)\.(key|query|value|out)\.", r"\1.stages.0.\2_project."),
    ),
    "fcn": (
        (r"^decode_head\.enter\.", "decode_head.convs.0."),
        (r"^decode_head\.leave\.", "decode_head.convs.1."),
        (r"^decode_head\.merge\.", "decode_head.conv_cat."),
        (r"^decode_head\.context\.value\.", "decode_head.nl_block.g.conv."),
        (r"^decode_head\.context\.query\.", "decode_head.nl_block.theta.conv."),
        (r"^decode_head\.context\.key\.", "decode_head.nl_block.phi.conv."),
        (r"^decode_head\.context\.out\.", "decode_head.nl_block.conv_out.conv."),
        (r"^decode_head\.context\.out_norm\.", "decode_head.nl_block.conv_out.bn."),
        (r"^decode_head\.context\.unary\.", "decode_head.nl_block.conv_mask."),
    ),
    "psa": (
        (r"^decode_head\.collect\.attention\.", "decode_head.attention.0."),
        (r"^decode_head\.collect\.score\.", "decode_head.attention.1."),
        (r"^decode_head\.collect\.reduce\.", "decode_head.reduce."),
        (r"^decode_head\.distribute\.attention\.", "decode_head.attention_p.0."),
        (r"^decode_head\.distribute\.score\.", "decode_head.attention_p.1."),
        (r"^decode_head\.distribute\.reduce\.", "decode_head.reduce_p."),
        (r"^decode_head\.project\.", "decode_head.proj."),
        (r"^decode_head\.merge\.", "decode_head.bottleneck."),
    ),
    "psp": (
        (r"^decode_head\.pools\.(\d)\.", r"decode_head.psp_modules.\1.1."),
        (r"^decode_head\.merge\.", "decode_head.bottleneck."),
    ),
    "deeplabv3": (
        (r"^decode_head\.image\.", "decode_head.image_pool.1."),
        (r"^decode_head\.branches\.", "decode_head.aspp_modules."),
        (r"^decode_head\.merge\.", "decode_head.bottleneck."),
    ),
}
_SEMSEG: Renamings = (
    (r"^backbone\.conv1\.(\d)\.", r"layer0.\1."),
    (r"^backbone\.bn1\.", "layer0.7."),
    (r"^backbone\.layer", "layer"),
    (r"^head\.collect\.(reduce|attention)\.", r"psa.\1."),
    (r"^head\.distribute\.(reduce|attention)\.", r"psa.\1_p."),
    (r"^head\.collect\.score\.", "psa.attention.3."),
    (r"^head\.distribute\.score\.", "psa.attention_p.3."),
    (r"^head\.project\.", "psa.proj."),
    (r"^head\.merge\.", "cls."),
    (r"^head\.classifier\.", "cls.4."),
    (r"^auxiliary\.reduce\.", "aux."),
    (r"^auxiliary\.classifier\.", "aux.4."),
    (r"^((?:psa|cls|aux)\..*)conv\.", r"\g<1>0."),
    (r"^((?:psa|cls|aux)\..*)norm\.", r"\g<1>1."),
)
_DENSE_ASPP: Renamings = (
    (r"^backbone\.", ""),
    (r"(\.denselayer\d+\.)(norm|conv)([12])\.", r"\1\2.\3."),
    *(
        (rf"^head\.branches\.{index}\.(norm|conv)([12])\.", rf"ASPP_{dilation}.\1.\2.")
        for index, dilation in enumerate((3, 6, 12, 18, 24))
    ),
    (r"^head\.classifier\.", "classification.1."),
)

# Each layout, and how some of its keys begin and none of another's.
CHECKPOINT_LAYOUTS = {
    "own": "head.",
    "official": "backbone.prefix.",
    "mmseg": "decode_head.",
    "semseg": "layer0.",
    "denseaspp": "ASPP_3.",
}
# A key that still holds one of our own words has no name in the layout.
_OURS = re.compile(r"(^|\.)(head|auxiliary|combine|out_norm|unary|lift|key|query)\.")


def tell_layout(keys: Iterable[str]) -> tuple[str, str]:
    """Tell from its keys how a checkpoint is laid out, and the prefix of that layout's keys, which may be empty.

    The module in which somebody's code has the network (`model.`, `net.`, ...) is such a prefix. Keys of no known
    layout are a ValueError, and so are those of two networks.
    """
    names = tuple(keys)
    found: dict[str, str] = {}
    for layout, sign in CHECKPOINT_LAYOUTS.items():
        for key in names:
            at = 0 if key.startswith(sign) else key.find(f".{sign}") + 1
            if at or key.startswith(sign):
                found.setdefault(key[:at], layout)
    if "" in found:
        return found[""], ""
    if len(found) == 1:
        return next((layout, prefix) for prefix, layout in found.items())
    if found:
        one = min(found)
        msg = (
            f"holds several networks, under {', '.join(map(shown, sorted(found)))}; take one of them out: "
            f"torch.save({{k: v for k, v in state_dict.items() if {one!r} in k}}, 'weights.pth')"
        )
        raise ValueError(msg)
    backbone = any(
        re.match(r"(backbone\.)?(conv1|stem|layer1|features|patch_embed)\b", key) for key in names
    )
    msg = (
        f"the keys ({', '.join(map(shown, names[:4])) or 'none'}, ...) are those of no known layout; known are "
        f"{', '.join(f'{layout} ({sign}*)' for layout, sign in CHECKPOINT_LAYOUTS.items())}; "
        + (
            "weights of a backbone alone go to pretrained='file:PATH'"
            if backbone
            else "rename the keys to one of them, which ann.checkpoints.to_layout writes for a network"
        )
    )
    raise ValueError(msg)


def layout_keys(net: nn.Module, layout: str) -> dict[str, str]:
    """Map the names that a layout has for a network's tensors to the keys of its `state_dict`.

    Published layouts hold a shared query and key twice, our networks once: the query's names, behind all others, have
    the key's keys. A layout that is unknown, or has no name for a part of the network, is a ValueError.
    """
    look_up("layout", layout, CHECKPOINT_LAYOUTS)
    keys = {key: key for key in net.state_dict()}
    if layout == "own":
        return keys
    for prefix, module in net.named_modules():
        if isinstance(module, NonLocal) and module.spec.projection == "shared":
            part = module.key.state_dict()
            keys |= {f"{prefix}.query.{leaf}": f"{prefix}.key.{leaf}" for leaf in part}
    table = _renamings(net, layout)
    names = {key: rename(key, table) for key in keys}
    homeless = [key for key, name in names.items() if _OURS.search(name)]
    if homeless:
        msg = (
            f"layout {layout!r} has no name for {homeless[0]} (and {len(homeless) - 1} more); "
            "use 'own', or a network of the family that the layout belongs to"
        )
        raise ValueError(msg)
    return {names[alias]: key for alias, key in keys.items()}


def rename(key: str, table: Renamings) -> str:
    """Apply a table to one key."""
    for pattern, replacement in table:
        key = re.sub(pattern, replacement, key)
    return key


def _renamings(net: nn.Module, layout: str) -> Renamings:
    if layout == "official":
        return (*stem(net.state_dict(), layout), *_OFFICIAL_KEYS)
    if layout == "mmseg":
        assert isinstance(net.spec, NetworkSpec), "networks are made by ann.network"
        head = _MMSEG_HEAD_KEYS.get(net.spec.head, ())
        if net.spec.context is not None and net.spec.context.kind == "disentangled":
            head = (*head, (r"\.nl_block\.", ".dnl_block."))
        return (*stem(net.state_dict(), layout), *_MMSEG_KEYS, *head)
    return _SEMSEG if layout == "semseg" else _DENSE_ASPP


def stem(keys: Mapping[str, object], layout: str) -> Renamings:
    """Return the renamings of a ResNet's stem, of three 3x3 convolutions or of one 7x7."""
    if "backbone.conv1.0.weight" in keys:
        return _OFFICIAL_STEM if layout == "official" else _MMSEG_STEM
    plain = (r"^backbone\.(conv1|bn1)\.", r"backbone.prefix.\1.")
    return (plain,) if layout == "official" else ()


def fold_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move the bias of each convolution ahead of a batch norm into the norm's running mean.

    Takes our own keys. In eval mode the network stays the same function; mmseg and semseg have no such biases.
    """
    folded = dict(state)
    for key in state:
        mean = re.sub(r"\.conv\.bias$", ".norm.running_mean", key)
        if mean != key and mean in state:
            folded[mean] = state[mean] - folded.pop(key)
    return folded
