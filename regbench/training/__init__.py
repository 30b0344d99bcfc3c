"""The trainer: one step, one loop, its checkpoints, health and progress."""
