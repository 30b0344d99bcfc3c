"""Judging networks on frozen test pairs."""
