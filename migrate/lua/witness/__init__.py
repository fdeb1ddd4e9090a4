"""Torch7's own Lua of nn, from the user's checkout, runs a model of a file with kernels of PyTorch."""
