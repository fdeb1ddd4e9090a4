"""Reads `.t7` files of both forms."""
