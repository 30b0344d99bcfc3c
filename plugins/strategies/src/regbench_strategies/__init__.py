"""The official training strategies, one module each, under their published names."""
