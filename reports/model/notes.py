"""What stands under the tables: how a number was made, and why it differs from the printed one."""

COUNT_NOTE = (
    "FLOPs count 2 per MAC and add softmax, norms and pooling. The paper's rules count 1 for each MAC "
    "of a convolution, 2 for each of a matrix product, and a module once however often it runs."
)
INCREMENT_NOTE = (
    "Memory is what one call adds to its input and parameters; predicted memory is that of the live "
    "tensors, workspace is measured minus predicted."
)
PROCEDURE = (
    "The paper's procedure never resets the maximum, so that the second size starts from the peak "
    "that NB left at the first: its figures are not what a block needs."
)
RATIO_NOTE = "A ratio is the published number over ours to its left."
TIME_NOTE = (
    "Times are medians with 99 % intervals; '?' marks an inconclusive one: fewer than 12 samples, or "
    "half the interval is a hundredth of the median or more (on a processor a twentieth)."
)
STORED = "The paper's count agrees with parameters and batch norm buffers together."
HELD = (
    "Memory in all is everything alive at the peak: parameters, input and what the call adds. "
    "Workspaces, cached blocks and the driver's context are not in it; the paper does not say what "
    "its figure holds."
)
