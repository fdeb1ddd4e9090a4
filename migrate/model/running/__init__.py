"""What runs a converted model, whole or in part."""
