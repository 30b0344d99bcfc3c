"""Tensors in files: our own safetensors files, and weights as their authors publish them."""
