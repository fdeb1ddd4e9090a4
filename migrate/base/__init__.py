"""What every part uses: errors, messages, files, downloads, nested tensors. Imports nothing of the other packages."""
