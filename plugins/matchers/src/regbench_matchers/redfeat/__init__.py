"""ReDFeat: the matcher, its network and its loss."""

from regbench_matchers.redfeat.matcher import ReDFeat, ReDFeatConfig

__all__ = ["ReDFeat", "ReDFeatConfig"]
