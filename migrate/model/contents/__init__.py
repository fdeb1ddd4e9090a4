"""What a file holds around its networks, and in objects whose class nobody knows."""
