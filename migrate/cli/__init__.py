"""The command line. Only this package prints, and only its `main` exits."""
