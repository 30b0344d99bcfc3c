"""Blocks several registrators share."""
