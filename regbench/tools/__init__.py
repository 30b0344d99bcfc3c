"""Tools beside runs: timing, CUDA graphs, ONNX export, imported weights, image files, the installation."""
