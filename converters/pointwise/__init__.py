"""Functions of each element alone: activations, constants, dropout, softmax."""
