"""Counts and predictions without execution."""
