"""Modules that become one ONNX operator each."""
