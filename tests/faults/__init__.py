"""Faults on purpose; ``python -m tests.faults`` counts what survives and prints the table of docs/reliability.md."""
