"""Edge search: the homography under which the edge orientations of two images agree best, looked for everywhere."""

from regbench_matchers.edge_search.matcher import EdgeSearch, EdgeSearchConfig

__all__ = ["EdgeSearch", "EdgeSearchConfig"]
