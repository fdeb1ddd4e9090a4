"""Parity: proof that a converted model computes what Torch7 computed, or where and why it does not."""
