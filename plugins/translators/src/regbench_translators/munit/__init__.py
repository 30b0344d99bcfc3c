"""MUNIT: multimodal unsupervised image-to-image translation, under its published name."""

from regbench_translators.munit.translator import MUNIT, MUNITConfig

__all__ = ["MUNIT", "MUNITConfig"]
