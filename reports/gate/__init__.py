"""Findings of the regression gate in every form, and the history of runs."""
