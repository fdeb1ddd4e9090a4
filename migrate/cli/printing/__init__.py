"""What the commands print: trees, tables and one-line verdicts."""
