"""Adapters of ours around blocks that want more than a map, and blocks of torch's own parts."""

import torch
import torch.nn.functional as F
from torch import nn


class MultiHead(nn.Module):
    """torch's multi-head attention on a map."""

    def __init__(self, channels, *, need_weights=False):
        super().__init__()
        self.inner = nn.MultiheadAttention(channels, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        tokens = x.flatten(2).mT
        output, _ = self.inner(tokens, tokens, tokens, need_weights=self.need_weights)
        return output.mT.reshape(x.shape)


class Attention(nn.Module):
    """Four heads by the fused function, with whatever else it is given."""

    def __init__(self, channels, key_channels, **options):
        super().__init__()
        self.embed = nn.Conv2d(channels, 3 * key_channels, 1)
        self.out = nn.Conv2d(key_channels, channels, 1)
        self.options = options

    def attend(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, **self.options)

    def forward(self, x):
        b, _, h, w = x.shape
        heads = self.embed(x).reshape(b, 3, 4, -1, h * w).transpose(3, 4).unbind(1)
        return self.out(self.attend(*heads).transpose(2, 3).reshape(b, -1, h, w))


class Banded(Attention):
    """Inside a band of the sequence, by a mask."""

    def attend(self, query, key, value):
        place = torch.arange(query.shape[2], device=query.device)
        mask = (place[:, None] - place).abs() <= 64
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Grouped(Attention):
    """Queries that share two heads of keys and values."""

    def attend(self, query, key, value):
        return F.scaled_dot_product_attention(query, key[:, :2], value[:, :2], enable_gqa=True)


class Flex(Attention):
    """Scores that fall with distance, by flex_attention."""

    def attend(self, query, key, value):
        from torch.nn.attention.flex_attention import flex_attention

        return flex_attention(
            query, key, value, score_mod=lambda s, b, h, i, j: s - 0.01 * (i - j).abs()
        )


class Fourier(nn.Module):
    """The real part of a two-dimensional Fourier transform, as in FNet."""

    def __init__(self, channels):
        super().__init__()
        self.norm, self.out = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x + self.out(torch.fft.fft2(self.norm(x)).real)


class GlobalFilter(nn.Module):
    """Complex weights on the spectrum, as in GFNet."""

    def __init__(self, channels, height, width):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(channels, height, width // 2 + 1, dtype=torch.cfloat)
        )

    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.weight, s=x.shape[-2:])


class ReNet(nn.Module):
    """Recurrent both ways, along rows and then along columns."""

    def __init__(self, channels, *, kind="LSTM"):
        super().__init__()
        options = {"bidirectional": True, "batch_first": True}
        self.rows, self.columns = (
            getattr(nn, kind)(channels, channels // 2, **options) for _ in range(2)
        )

    def forward(self, x):
        b, c, h, w = x.shape
        y, _ = self.rows(x.permute(0, 2, 3, 1).reshape(b * h, w, c))
        y, _ = self.columns(y.reshape(b, h, w, c).transpose(1, 2).reshape(b * w, h, c))
        return y.reshape(b, w, h, c).permute(0, 3, 2, 1)


class Unfolded(nn.Module):
    """Attention to the 7x7 neighbours of each position, through unfold."""

    def __init__(self, channels, key_channels):
        super().__init__()
        self.embed = nn.Conv2d(channels, 3 * key_channels, 1)
        self.out = nn.Conv2d(key_channels, channels, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        query, key, value = self.embed(x).chunk(3, dim=1)
        key, value = (
            F.unfold(each, 7, padding=3).reshape(b, -1, 49, h * w) for each in (key, value)
        )
        weights = torch.einsum("bcn,bckn->bkn", query.flatten(2), key).softmax(dim=1)
        return self.out(torch.einsum("bkn,bckn->bcn", weights, value).reshape(b, -1, h, w))


class Distance(nn.Module):
    """Attention by Euclidean distance."""

    def __init__(self, channels, key_channels):
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, key_channels, 1) for _ in range(2))

    def forward(self, x):
        query, key = self.query(x).flatten(2).mT, self.key(x).flatten(2).mT
        weights = (-torch.cdist(query, key)).softmax(dim=-1)
        return x + (weights @ x.flatten(2).mT).mT.reshape(x.shape)


class Sampled(nn.Module):
    """A point a position, somewhere else, by grid_sample; its grid names no device."""

    def __init__(self, channels):
        super().__init__()
        self.offset, self.out = nn.Conv2d(channels, 2, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        sides = (torch.linspace(-1, 1, size) for size in x.shape[2:])
        ys, xs = torch.meshgrid(*sides, indexing="ij")
        grid = torch.stack((xs, ys), dim=-1) + self.offset(x).tanh().permute(0, 2, 3, 1)
        return x + self.out(F.grid_sample(x, grid, align_corners=False))


class Checkpointed(nn.Module):
    """Activations computed again on the way back."""

    def __init__(self, channels, *, reentrant=False):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3)
        )
        self.reentrant = reentrant

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


def compiled(channels, key_channels):
    return torch.compile(Unfolded(channels, key_channels))


def scripted(channels):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is going away
        return torch.jit.script(nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU()))


class Mapped(nn.Module):
    """Attention in rows, written for one row and mapped over all."""

    def __init__(self, channels, key_channels):
        super().__init__()
        self.query, self.key = (nn.Linear(channels, key_channels) for _ in range(2))

    def forward(self, x):
        def row(tokens):
            return (self.query(tokens) @ self.key(tokens).T).softmax(dim=-1) @ tokens

        each = torch.func.vmap(torch.func.vmap(row))
        return each(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def spectral(channels):
    return nn.utils.parametrizations.spectral_norm(nn.Conv2d(channels, channels, 3))


class Eigen(nn.Module):
    """Whitened by the covariance's eigenvectors."""

    def __init__(self, channels, key_channels):
        super().__init__()
        self.narrow = nn.Conv2d(channels, key_channels, 1)
        self.widen = nn.Conv2d(key_channels, channels, 1)

    def forward(self, x):
        y = self.narrow(x).flatten(2)
        y = y - y.mean(dim=2, keepdim=True)
        noise = 1e-3 * torch.eye(y.shape[1], device=x.device)
        values, vectors = torch.linalg.eigh(y @ y.mT / y.shape[2] + noise)
        y = vectors @ (values.rsqrt().unsqueeze(-1) * (vectors.mT @ y))
        return x + self.widen(y.unflatten(2, x.shape[2:]))


class Sparse(nn.Module):
    """Messages along a fixed graph of neighbours, a sparse matrix."""

    def __init__(self, channels, height, width):
        super().__init__()
        n = height * width
        rows = torch.arange(n).repeat_interleave(4)
        columns = (rows + torch.tensor([1, -1, width, -width]).repeat(n)) % n
        graph = torch.sparse_coo_tensor(
            torch.stack((rows, columns)), torch.full((4 * n,), 0.25), (n, n)
        )
        self.register_buffer("graph", graph.coalesce(), persistent=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        y = torch.stack([torch.sparse.mm(self.graph, one.flatten(1).T).T for one in x])
        return x + self.out(y.reshape(x.shape))


class Table(nn.Module):
    """A learnt table of positions, for maps of one size."""

    def __init__(self, channels, height, width):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(channels, height, width))

    def forward(self, x):
        return x + self.table


class PlainTable(nn.Module):
    """A table that is a plain attribute: it stands before the call."""

    def __init__(self, height, width):
        super().__init__()
        self.places = torch.zeros(height * width, height * width)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return ((x.flatten(2) @ self.places[:, :]) * self.scale).reshape(x.shape)


class Deformable(nn.Module):
    """A deformable 3x3 convolution with its offsets."""

    def __init__(self, channels):
        super().__init__()
        from torchvision.ops import DeformConv2d

        self.offset = nn.Conv2d(channels, 18, 3, padding=1)
        self.conv = DeformConv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x, self.offset(x))


class OnTokens(nn.Module):
    """A block on tokens that is told the sides of their map, each or as a pair."""

    def __init__(self, inner, *, as_pair=False):
        super().__init__()
        self.inner, self.as_pair = inner, as_pair

    def forward(self, x):
        sides = x.shape[2:]
        output = self.inner(x.flatten(2).mT, *((tuple(sides),) if self.as_pair else sides))
        output = output[0] if isinstance(output, tuple) else output
        return output.mT.reshape(x.shape)


def PyramidVision(channels, *, linear=False):  # stands for a class
    from timm.models.pvt_v2 import Attention as Reduced

    options = {"linear_attn": True} if linear else {"sr_ratio": 2}
    return OnTokens(Reduced(channels, num_heads=4, **options), as_pair=True)


def Segformer(channels):
    from transformers import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerAttention

    sizes = {"hidden_size": channels, "num_attention_heads": 4, "sequence_reduction_ratio": 2}
    return OnTokens(SegformerAttention(SegformerConfig(), **sizes))


def Swin(channels, height, width):
    from transformers import SwinConfig
    from transformers.models.swin.modeling_swin import SwinLayer

    sizes = {"dim": channels, "input_resolution": (height, width), "num_heads": 4}
    return OnTokens(SwinLayer(SwinConfig(window_size=8), shift_size=4, **sizes), as_pair=True)


class Dinov2(nn.Module):
    def __init__(self, channels):
        super().__init__()
        from transformers import Dinov2Config
        from transformers.models.dinov2.modeling_dinov2 import Dinov2Layer

        config = Dinov2Config(hidden_size=channels, num_attention_heads=4)
        config._attn_implementation = "sdpa"
        self.inner = Dinov2Layer(config)

    def forward(self, x):
        output = self.inner(x.flatten(2).mT)
        output = output[0] if isinstance(output, tuple) else output
        return output.mT.reshape(x.shape)


class Mamba(nn.Module):
    def __init__(self, channels, *, pscan=True):
        super().__init__()
        from mambapy.mamba import MambaBlock, MambaConfig

        config = MambaConfig(d_model=channels, n_layers=1, d_state=16, pscan=pscan)
        self.inner = MambaBlock(config)

    def forward(self, x):
        return self.inner(x.flatten(2).mT).mT.reshape(x.shape)


class Nested(nn.Module):
    """Sequences of several lengths in one tensor, without padding."""

    def __init__(self, channels):
        super().__init__()
        self.embed, self.out = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)

    def forward(self, x):
        tokens = x.flatten(2).mT.flatten(0, 1)
        ends = torch.tensor([0, len(tokens) // 4, len(tokens)])
        gate, value = self.embed(torch.nested.nested_tensor_from_jagged(tokens, ends)).chunk(2, -1)
        flat = self.out(F.layer_norm(gate.sigmoid() * value, value.shape[-1:])).values()
        return flat.unflatten(0, (len(x), -1)).mT.reshape(x.shape)
