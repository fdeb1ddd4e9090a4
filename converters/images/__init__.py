"""Layers that read images, volumes and sequences of frames: convolution, pooling, normalization, resampling."""
