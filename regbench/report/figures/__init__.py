"""Figures of boards and of single runs."""
