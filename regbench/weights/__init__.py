"""Weights in files: our checkpoints and published ones."""
