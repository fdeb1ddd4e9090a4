"""Exports a converted model: which axes are free, the trace, its checks, the file."""
