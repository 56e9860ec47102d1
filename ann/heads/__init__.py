"""Heads: from the features of the last two stages to logits at the features' size."""

from torch import nn

from ann.heads.context import AnnHead, AuxiliaryHead, FcnHead
from ann.heads.psa import PsaHead
from ann.heads.pyramids import DeepLabHead, DenseAsppHead, PspHead
from ann.layers import ConvNorm
from ann.spec import NetworkSpec

HEADS: dict[str, type[nn.Module]] = {
    "ann": AnnHead,
    "fcn": FcnHead,
    "psa": PsaHead,
    "psp": PspHead,
    "deeplabv3": DeepLabHead,
    "dense-aspp": DenseAsppHead,
}


def make_head(spec: NetworkSpec, *, low: int, high: int) -> nn.Module:
    """Build the head for feature maps with that many channels; it is called with both maps."""
    return _initialise(HEADS[spec.head](spec, low, high), spec)


def make_auxiliary(spec: NetworkSpec, *, low: int) -> nn.Module | None:
    """Build the auxiliary head for stage 4, or return None where the spec has none."""
    if spec.auxiliary_channels is None:
        return None
    return _initialise(AuxiliaryHead(spec, low), spec)


def _initialise(head: nn.Module, spec: NetworkSpec) -> nn.Module:
    if spec.initialisation == "mmseg":
        for module in head.modules():
            if isinstance(module, ConvNorm):
                nn.init.kaiming_normal_(module.conv.weight, mode="fan_out", nonlinearity="relu")
        classifier = head.get_submodule("classifier")
        assert isinstance(classifier, nn.Conv2d)
        nn.init.normal_(classifier.weight, std=0.01)
        assert classifier.bias is not None
        nn.init.zeros_(classifier.bias)
    return head
