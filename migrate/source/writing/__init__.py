"""How what was found of a model is written: the file, its classes and methods."""
