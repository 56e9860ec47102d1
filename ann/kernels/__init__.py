"""Kernels for attention of many positions to a few anchors, in Triton, which comes with torch on Linux.

`rewrite` is implementation `triton` of blocks and networks: two passes over the map (`project` and `attend` in
`ann.kernels.passes`), and their way back (`gradients`). `attend_to_few` is the second pass alone, for other blocks
whose queries meet few keys. Nothing here imports Triton before a kernel runs.
"""

from ann.kernels.blocks import rewrite
from ann.kernels.functions import attend_to_few, pool_pyramid
