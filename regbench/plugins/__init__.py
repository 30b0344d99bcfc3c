"""Discovery of plugins, the registry of what they offer, and what works together."""
