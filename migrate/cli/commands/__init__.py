"""One command of the command line per file, each with a click command of its own name in it."""
