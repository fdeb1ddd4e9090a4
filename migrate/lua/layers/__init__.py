"""Layers that only their author's Lua defines: run, recorded, and written as PyTorch."""
