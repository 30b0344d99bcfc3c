"""Image files as pixels: one decoder for data sets, previews and a user's own pair; see ``docs/pixels.md``."""
