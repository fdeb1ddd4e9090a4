"""The weights of a converted model in a network that the user has, proven by running both."""
