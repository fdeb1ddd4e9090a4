"""What Torch7's nn computes in C (the functions of THNN), computed by PyTorch: forward, for its own Lua."""
