"""Runs cells in processes, in a pool or on a Ray cluster, and resumes."""
