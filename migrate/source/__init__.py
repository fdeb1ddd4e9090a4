"""Writes model.py: a converted model as plain PyTorch source."""

from __future__ import annotations

from .generating import Source, generate

__all__ = ["Source", "generate"]
