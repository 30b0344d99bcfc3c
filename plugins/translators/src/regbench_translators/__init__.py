"""The official translators, one module or sub-package each, under their published names."""
