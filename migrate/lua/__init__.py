"""Authors' Lua on PyTorch: definitions of models run in a process of their own, and give what a `.t7` would hold."""
