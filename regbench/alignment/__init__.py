"""Two images of one's own, aligned: any size, any bit depth, with a confidence; see ``docs/align.md``."""
