"""What stands beside runs: timing, export, import, diagnosis."""
