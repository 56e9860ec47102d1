"""Context blocks that people choose among today, beside those of the catalogue: what `experiments.gallery` lists.

Each name is a factory for `--block ann.gallery:NAME`. It takes the channels of the map, some take the
width of what is inside as well, and it gives a module for maps (b, C, h, w). Widths, heads and ratios are those of
the papers, where a block says nothing else; heads have 64 channels, as in SegFormer, P2T and ViT-B.
"""

from ann.gallery.adapters import (
    aspp,
    gc,
    multi_head,
    nystrom,
    pvtv2_linear,
    se,
    segformer,
    swin,
)
from ann.gallery.crossed import CrissCross
from ann.gallery.large_kernels import LargeKernel, MultiScaleConvolution
from ann.gallery.linear import EfficientAttention, Linformer
from ann.gallery.pooled import PooledAttention, PyramidPooling
from ann.gallery.regions import ExpectationMaximisation, ObjectContext
