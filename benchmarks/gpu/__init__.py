"""Loads on a GPU, measured against the limits of the same machine in the same run; benchmarks/README.md says how."""
