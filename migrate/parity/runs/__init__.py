"""Runs of a converted model on every backend, as a whole and layer by layer."""
