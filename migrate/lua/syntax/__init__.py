"""Reads an author's Lua, to have said where data that are not there would decide what is built."""
