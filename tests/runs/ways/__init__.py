"""Ways to get two results under one run id, or one result from changed data, and what is said where one is refused.

Each module has ``WAYS`` by name and ``REFUSED``, patterns of the words by name.
"""
