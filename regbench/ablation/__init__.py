"""From a recipe to cells, their processes and their board."""
