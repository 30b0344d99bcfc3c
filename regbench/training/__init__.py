"""The one trainer, and what surrounds its loop: checkpoints, progress, health, cached stages, memory."""
