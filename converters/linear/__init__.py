"""Layers that multiply by weights, or look rows up in them."""
