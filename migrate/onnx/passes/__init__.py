"""Changes to an exported graph that leave its numbers as they are."""
