"""Layers that no package has, but that well-known projects defined beside their models."""
