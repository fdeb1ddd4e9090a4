"""What a converted model is compared with, from dumped references to activations left in the file."""
