"""How sure one can be of an estimated homography without knowing the true one; see ``docs/confidence.md``."""
