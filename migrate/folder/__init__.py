"""The folder that `convert` writes: made, verified, opened again."""
