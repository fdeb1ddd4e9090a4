"""Layers that stay what their author's Lua says, and run it: in a process that is kept while they live."""
