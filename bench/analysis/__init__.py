"""Arithmetic on records: statistics, the sign test, devices and rooflines; no torch."""
