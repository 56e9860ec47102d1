"""The kernels themselves, in Triton's language: one file a pass, and what several of them need in `pool`."""
