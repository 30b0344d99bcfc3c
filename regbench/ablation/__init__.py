"""Ablations: a recipe, its cells, the processes that run them, and the board of their runs."""
