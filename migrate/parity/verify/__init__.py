"""verify(): compares a converted model on every backend, and cuts out the part that fails."""
