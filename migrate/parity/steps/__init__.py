"""The weights that a model had before the last step of its optimizer, and what tells them from wrong ones."""
