"""Networks that make images and codes: style transfer, textures, autoencoders, generators."""
