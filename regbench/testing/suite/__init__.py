"""One module for each role; each test states one requirement of a component."""
