"""Converters of Torch7 classes, one file per family of layers; the registry finds them by walking this package."""
