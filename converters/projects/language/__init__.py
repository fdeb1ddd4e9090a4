"""Networks that read and write text, and their memories and attention."""
