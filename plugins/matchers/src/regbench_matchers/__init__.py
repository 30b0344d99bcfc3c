"""The official matchers: registrators that need no training, one module each, under their published names."""
