"""An author's layer as it runs, recorded as graphs."""
