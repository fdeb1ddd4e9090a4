"""Layers that hold other layers, or take and give tables."""
