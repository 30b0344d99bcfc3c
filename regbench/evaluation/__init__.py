"""Judging networks on the frozen test pairs, with truth and without."""
