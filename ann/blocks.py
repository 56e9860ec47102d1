"""The blocks: non-local (NB, APNB; across two maps FNB, AFNB), disentangled, common fusion.

One class is NB and APNB: NB is APNB with every position an anchor. What differs between the paper,
the official code and mmseg is in the `BlockSpec`, each field of which says so.

Axes: n images, c channels of the map that is refined, l channels of the low-level map, h and w its
height and width, y and x those of the low-level map.
"""

from collections.abc import Callable, Mapping
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from ann.attention import Attention, likeness, whiten
from ann.layers import Combine, ConvNorm, zero_
from ann.sampling import TakeAnchors, make_sampler
from ann.spec import BlockSpec, Kind


class NonLocal(nn.Module):
    """Attention over a feature map, or from a high-level map to a low-level one.

    The sampler decides between NB and APNB, `low_channels` between the self and the cross form (there the query comes
    from the high-level map, key and value from the low-level one, as in the official code; Eq. 14 to 16 have one
    embedding for both). A shared query and key is one module that runs twice in a forward pass: its batch norm sees
    each batch twice, so that its running statistics move twice a step, in the official code as in mmseg.
    """

    # How values are mixed; None by the map of weights, as in the official code.
    attention: Attention | None = None
    unary: (
        nn.Module | None
    )  # of the disentangled block: how much all positions ask of each anchor alike

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.spec = spec
        source = spec.low_channels or spec.channels
        project: Callable[..., nn.Module] = partial(ConvNorm, bias=spec.norm_bias)
        if spec.projection == "plain":
            project = partial(nn.Conv2d, kernel_size=1)
        self.key = project(source, spec.key_channels)
        if spec.projection != "shared":
            self.query = project(spec.channels, spec.key_channels)
        self.value = nn.Conv2d(source, spec.value_width, 1)
        self.out = nn.Conv2d(spec.value_width, spec.channels, 1, bias=not spec.out_norm)
        self.out_norm = nn.BatchNorm2d(spec.channels) if spec.out_norm else nn.Identity()
        self.combine = Combine(spec)
        self.unary = None
        self._start_as_identity()

    def _start_as_identity(self) -> None:
        # Official: W_o is zero. mmcv: where a norm follows, its gain is zero instead, and bare projections are small.
        if isinstance(self.out_norm, nn.BatchNorm2d):
            nn.init.zeros_(self.out_norm.weight)
        else:
            zero_(self.out)
        if self.spec.projection == "plain":
            for conv in (self.query, self.key, self.value):
                assert isinstance(conv, nn.Conv2d), "a plain projection is a bare convolution"
                zero_(conv)
                nn.init.normal_(conv.weight, std=0.01)

    def forward(
        self, x: Float[Tensor, "n c h w"], low: Float[Tensor, "n l y x"] | None = None
    ) -> Float[Tensor, "n o h w"]:
        """Refine `x` by what its positions find among the anchors of `low`, or of `x` itself."""
        return self.combine(x, self.refine(x, x if low is None else low))

    def refine(
        self, x: Float[Tensor, "n c h w"], source: Float[Tensor, "n l y x"]
    ) -> Float[Tensor, "n c h w"]:
        """What each position of `x` finds among the anchors of `source`.

        Query, key, value and weights live until W_o has run, as in the official code: they are part
        of what it holds at its peak. Without the map of weights tokens are copied so that each lies
        in one piece, else no fused kernel takes them.
        """
        sample = make_sampler(self.spec)
        query, key = self.embed(x, source, sample)
        value = sample(self.value(source)).mT
        if self.attention is None:
            weight = likeness(query, key, scale=self.scale)
            context = weight @ value
        else:
            query, key, value = query.contiguous(), key.mT.contiguous(), value.contiguous()
            context = self.attention(query, key, value, scale=self.scale)
        if self.unary is not None:
            context = context + sample(self.unary(source)).softmax(dim=-1) @ value
        context = context.mT.contiguous().unflatten(2, x.shape[2:])
        return self.out_norm(self.out(context))

    def embed(
        self, x: Float[Tensor, "n c h w"], source: Float[Tensor, "n l y x"], sample: TakeAnchors
    ) -> tuple[Float[Tensor, "n q k"], Float[Tensor, "n k s"]]:
        """Queries of all positions and keys of the anchors; the sampler follows the projection (Eq. 8)."""
        to_query = self.key if self.spec.projection == "shared" else self.query
        return to_query(x).flatten(2).mT, sample(self.key(source))

    @property
    def scale(self) -> float:
        """By what the similarity is multiplied."""
        width = self.spec.key_channels if self.spec.scaled else 1
        return float(width**-0.5 / self.spec.temperature)


class Disentangled(NonLocal):
    """The disentangled block: whitened pairwise attention plus one unary attention for all positions.

    Disentangled Non-Local Neural Networks (ECCV 2020), in the form that mmseg trains: per-channel
    means over the positions are subtracted from query and key, the value is shared by both terms.
    (The authors' own code subtracts one scalar an image and uses no temperature.)
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__(spec)
        self.unary = nn.Conv2d(spec.low_channels or spec.channels, 1, 1)

    def embed(
        self, x: Float[Tensor, "n c h w"], source: Float[Tensor, "n l y x"], sample: TakeAnchors
    ) -> tuple[Float[Tensor, "n q k"], Float[Tensor, "n k s"]]:
        """Queries less their mean over the positions, keys less theirs over the anchors."""
        query, key = super().embed(x, source, sample)
        return whiten(query.mT).mT, whiten(key)


class CommonFusion(nn.Module):
    """Stage 5 + ReLU(BatchNorm(Conv(Stage 4))), the local fusion that the paper compares with.

    Section 4.4. The paper gives no kernel size; a 1x1 convolution is the smallest that brings the channels together.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.spec = spec
        assert spec.low_channels is not None, "BlockSpec checks this"
        self.lift = ConvNorm(spec.low_channels, spec.channels, bias=spec.norm_bias)

    def forward(
        self, x: Float[Tensor, "n c h w"], low: Float[Tensor, "n l h w"]
    ) -> Float[Tensor, "n c h w"]:
        """Add the lifted low-level map."""
        return x + self.lift(low)


BLOCK_CLASSES: Mapping[Kind, type[nn.Module]] = {
    "non-local": NonLocal,
    "disentangled": Disentangled,
    "common-fusion": CommonFusion,
}
# What to do with what can't be rewritten.
AS_IT_IS = "use it as it is (implementation 'plain' or 'compiled')"
Rewritings = Mapping[type[NonLocal], Callable[[NonLocal], nn.Module]]


def make_block(spec: BlockSpec) -> nn.Module:
    """Build the module of a block's spec."""
    return BLOCK_CLASSES[spec.kind](spec)


def rewrite_blocks(module: nn.Module, rewritings: Rewritings) -> nn.Module:
    """Put in place of each non-local block, or of the module if it is one, what its rewriting makes.

    Rewritings go by the exact type of a block: a subclass is another function of its maps. A block of a type without
    one is a ValueError, and nothing was changed then.
    """
    places = module.named_modules(remove_duplicate=False)
    blocks = {name: part for name, part in places if isinstance(part, NonLocal)}
    for block in blocks.values():
        if type(block) not in rewritings:
            msg = (
                f"{type(block).__name__} is a subclass of NonLocal that can't be rewritten: what it changes would be "
                f"lost; rewritten are {', '.join(kind.__name__ for kind in rewritings)} themselves; "
                f"{AS_IT_IS}"
            )
            raise ValueError(msg)
    others: dict[int, nn.Module] = {}  # one block in several places stays one
    for name, block in blocks.items():
        if id(block) not in others:
            others[id(block)] = rewritings[type(block)](block)
        if not name:
            return others[id(block)]
        module.set_submodule(name, others[id(block)])
    return module
