"""The graphs of an author's layer, written as a class of PyTorch."""
