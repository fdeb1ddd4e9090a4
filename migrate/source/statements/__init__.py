"""What layers are in a forward method where they are not called: loops, joins, expressions."""
