"""ONNX: a converted model as a plain, checked file that runs where neither Torch7 nor PyTorch is."""
