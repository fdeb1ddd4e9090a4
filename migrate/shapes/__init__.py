"""Finds the input of a model: what the file recorded, what the layers take, what fits when it is tried."""
