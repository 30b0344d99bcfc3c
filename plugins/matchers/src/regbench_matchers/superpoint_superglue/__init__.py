"""SuperPoint keypoints matched by SuperGlue: the matcher and SuperGlue's network."""

from regbench_matchers.superpoint_superglue.matcher import SuperPointSuperGlue, SuperPointSuperGlueConfig

__all__ = ["SuperPointSuperGlue", "SuperPointSuperGlueConfig"]
