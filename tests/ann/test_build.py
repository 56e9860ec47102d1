import subprocess
import sys

import pytest
import torch

from ann import build


def test_a_mistyped_block_suggests_the_nearest():
    with pytest.raises(ValueError, match="unknown block 'apbn'; did you mean 'apnb'"):
        build.block("apbn")


def test_a_mistyped_argument_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'channels'"):
        build.block("apnb", chanels=3)


def test_a_mistyped_network_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'mmseg/ann-r50'"):
        build.network("mmseg/ann-r5")


def test_the_promised_blocks_are_named():
    assert {"nb", "apnb", "fnb", "afnb", "common-fusion", "apnb-concat", "apnb-bottleneck"} <= set(
        build.block_names()
    )


def test_the_promised_networks_are_named():
    paper = "baseline nb apnb common-fusion fnb afnb common-fusion+nb fnb+nb afnb+apnb".split()
    zoo = [
        f"mmseg/{m}-{b}" for m in "ann dnl nl psa psp deeplabv3".split() for b in ("r50", "r101")
    ]
    others = ["official/ann-r101", "semseg/psanet-r101", "denseaspp/161"]
    assert {*(f"paper/{name}" for name in paper), *zoo, *others} <= set(build.network_names())


def test_a_block_maps_to_its_own_shape():
    block = build.block("apnb", channels=16, key_channels=8)
    assert block(torch.randn(2, 16, 9, 12)).shape == (2, 16, 9, 12)


def test_building_a_block_needs_neither_timm_nor_torchvision():
    code = "from ann import build; import sys; build.block('apnb', channels=8, key_channels=4);"
    code += "print(sorted({'timm', 'torchvision', 'pandas', 'bench'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_backbone_named_is_the_sources_own():
    with torch.device("meta"):
        net = build.network("mmseg/ann-r50", backbone=None)
    assert net.spec.backbone == "resnet50c"
