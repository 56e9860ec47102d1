"""Blocks that an installed package has: timm's, torchvision's, nystrom-attention's, as modules for maps.

Each import stands in its function, so that a package that is missing is missed by its own row alone.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ann.gallery.tokens import OnTokens, num_heads
from ann.spec import UnavailableError

# Of SegFormer and PVTv2 at an eighth of the image's size.
REDUCTION = 4
WINDOW = 7
SWIN_HEAD_CHANNELS = 32
LANDMARKS = 64
DILATIONS = (12, 24, 36)  # DeepLab-V3's at an eighth of the image's size
SQUEEZE = 1 / 16


class LastAxis(nn.Module):
    """A module for maps (n, h, w, c) as one for maps (n, c, h, w)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Run it with the channels at the end."""
        return self.module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def multi_head(channels: int) -> nn.Module:
    """Multi-head attention of all positions over all, through torch's fused kernel, as timm's ViT has it.

    Vaswani et al., NeurIPS 2017. Not `torch.nn.MultiheadAttention`, whose fast path of inference makes the whole map of
    weights on a processor: 128 MiB of it at 64x32.
    """
    from timm.models.vision_transformer import Attention

    return OnTokens(Attention(channels, num_heads=num_heads(channels), qkv_bias=True))


def segformer(channels: int) -> nn.Module:
    """Attention over positions that a 4x4 convolution with stride 4 merges.

    Xie et al., SegFormer (NeurIPS 2021), section 3.1; the ratio of its stage at an eighth of the image's size. The
    arithmetic is that of PVT's spatial reduction, of which timm's `pvt_v2` has it.
    """
    return _reduced(channels, linear=False)


def pvtv2_linear(channels: int) -> nn.Module:
    """Attention over 7x7 averages (Wang et al., PVT v2, Computational Visual Media 2022, section 3.2)."""
    return _reduced(channels, linear=True)


def _reduced(channels: int, *, linear: bool) -> nn.Module:
    from timm.models.pvt_v2 import Attention

    heads = num_heads(channels)
    inner = Attention(channels, num_heads=heads, sr_ratio=REDUCTION, linear_attn=linear)
    return OnTokens(inner, lambda x: (list(x.shape[2:]),))


def swin(channels: int) -> nn.Module:
    """Attention in shifted windows of 7x7, heads of 32 channels (Liu et al., Swin Transformer, ICCV 2021, section 3.2).

    torchvision's, which fills the map up to whole windows.
    """
    from torchvision.models.swin_transformer import (  # type: ignore[import-untyped]
        ShiftedWindowAttention,
    )

    heads = channels // SWIN_HEAD_CHANNELS if channels % SWIN_HEAD_CHANNELS == 0 else 1
    shift = WINDOW // 2
    return LastAxis(ShiftedWindowAttention(channels, [WINDOW] * 2, [shift] * 2, heads))


def aspp(channels: int, key_channels: int) -> nn.Module:
    """1x1, three 3x3 that are 12, 24 and 36 apart, and the mean, merged; `key_channels` come out, 256 in the paper.

    Chen et al., DeepLab-V3 (2017), section 3.3, with the dilations of a map at an eighth of the image's size;
    torchvision's.
    """
    from torchvision.models.segmentation.deeplabv3 import ASPP  # type: ignore[import-untyped]

    return ASPP(channels, DILATIONS, key_channels)


def nystrom(channels: int) -> nn.Module:
    """Attention through 64 landmarks, six steps to their inverse, a convolution of 33 along the tokens beside it.

    Xiong et al., Nystromformer (AAAI 2021), sections 3.2 and 4; the package nystrom-attention.

    Raises:
        UnavailableError: the package is not installed.
    """
    try:
        from nystrom_attention import NystromAttention
    except ImportError as error:
        msg = (
            f"nystrom needs the package nystrom-attention ({error}); pip install nystrom-attention"
        )
        raise UnavailableError(msg) from error
    heads = num_heads(channels)
    width = channels // heads
    return OnTokens(NystromAttention(channels, width, heads, num_landmarks=LANDMARKS))


def gc(channels: int) -> nn.Module:
    """Global context: one mean of all positions, weighted, through C / 16 channels, added to each.

    Cao et al., GCNet (ICCV Workshops 2019), section 3.3; timm's.
    """
    from timm.layers import GlobalContext

    return GlobalContext(channels, fuse_add=True, fuse_scale=False, rd_ratio=SQUEEZE)


def se(channels: int) -> nn.Module:
    """Channels weighted by what C / 16 of them make of the mean (Hu et al., SENet, CVPR 2018); timm's."""
    from timm.layers import SEModule

    return SEModule(channels, rd_ratio=SQUEEZE, rd_divisor=1)
