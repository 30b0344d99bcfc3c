"""The interfaces a plugin author implements; one a file. Import them from :mod:`regbench`."""
