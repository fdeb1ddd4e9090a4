"""Layers of packages dpnn and nnx that belong to no family."""
