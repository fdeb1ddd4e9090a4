"""Layers that give their input another shape, or pick, move and reduce parts of it."""
