"""UNSB: the unpaired neural Schroedinger bridge, under its published name."""

from regbench_translators.unsb.translator import UNSB, UNSBConfig

__all__ = ["UNSB", "UNSBConfig"]
