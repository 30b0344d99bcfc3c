"""Packs: a prepared data set as one HDF5 file; how it is read, written, made and checked."""
