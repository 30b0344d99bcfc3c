"""MIMGCD: the MIM-guided conditional diffusion translator of CoLReg, under its published name."""

from regbench_translators.mimgcd.config import MIMGCDConfig
from regbench_translators.mimgcd.translator import MIMGCD

__all__ = ["MIMGCD", "MIMGCDConfig"]
