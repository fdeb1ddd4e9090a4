"""Whole collections of `.t7` files: converted in processes, resumed where a run ended, summed up in one table."""
