"""Whose memory values are in Torch7: what layers write over, and what others then read."""
