"""Writes model.py: a converted model as plain PyTorch source."""
