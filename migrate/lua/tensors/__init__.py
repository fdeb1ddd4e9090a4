"""Torch7's tensors and storages on `torch.Tensor`, as Lua calls them: 1-based, with destinations."""
