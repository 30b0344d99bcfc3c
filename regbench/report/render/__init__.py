"""Boards as markdown, HTML, CSV and LaTeX."""
