"""A picture of a network: the flow of its tensors as SVG, drawn without torch."""
