"""Blocks several matchers share."""
