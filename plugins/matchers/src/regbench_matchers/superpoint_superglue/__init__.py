"""SuperPoint with SuperGlue."""
