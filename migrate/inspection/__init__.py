"""What is in a `.t7` file, without converting it and without torch."""
