"""Whole networks for inference.

Axes: n images, height and width of the images, k classes.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ann.fast.folded import EvalOnly, FoldedAnnHead, FoldedNonLocal, fold_norms
from ann.heads.context import AnnHead
from ann.network import SegmentationNetwork


class FoldedNetwork(EvalOnly, SegmentationNetwork):
    """A network without auxiliary head, dropout and batch norms.

    Args:
        network: whose tensors are folded in place; its blocks are rewritten already.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        nn.Module.__init__(self)
        self.spec = network.spec
        self.backbone = network.backbone
        self.head = network.head
        self.auxiliary = None
        fold_norms(self)
        if isinstance(self.head, AnnHead) and _fusion_is_linear(self.head):
            self.head = FoldedAnnHead(self.head)
        for name, part in list(self.named_modules()):
            if isinstance(part, nn.Dropout2d):
                self.set_submodule(name, nn.Identity())
        self.requires_grad_(requires_grad=False).eval()

    def forward(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> Float[Tensor, "n k height width"]:
        """Classify every pixel."""
        logits = super().forward(images)
        assert isinstance(logits, Tensor), "eval mode has one output"
        return logits


def _fusion_is_linear(head: AnnHead) -> bool:
    fusion = head.fusion
    return (
        isinstance(fusion, FoldedNonLocal)
        and fusion.spec.output == "bottleneck"
        and not fusion.spec.bottleneck_relu
    )
