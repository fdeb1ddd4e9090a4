"""Takes parts out of a `.t7` file, and packs arrays into one."""
