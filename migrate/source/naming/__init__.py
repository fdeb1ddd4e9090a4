"""What the attributes, values and classes of model.py are called."""
