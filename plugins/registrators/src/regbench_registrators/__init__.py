"""The official registrators, one module or sub-package each, under their published names."""
