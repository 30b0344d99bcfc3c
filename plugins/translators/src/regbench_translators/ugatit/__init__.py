"""U-GAT-IT: unsupervised generative attention with adaptive layer-instance norm, under its published name."""

from regbench_translators.ugatit.translator import UGATIT, UGATITConfig

__all__ = ["UGATIT", "UGATITConfig"]
