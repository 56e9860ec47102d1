"""Measuring: cells in, records out."""
