"""Interleaved A/B comparison of two arms."""
