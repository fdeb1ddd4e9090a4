"""The layers and losses of facebook/fbnn that are written in Lua alone."""
