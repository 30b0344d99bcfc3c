"""One module a role; every test states one promise of a component."""
