"""ReDFeat: the matcher, its network and its loss."""
