"""Turning results into tables, figures and pages."""
