"""Decides whether numbers agree: measures, tolerances, verdicts."""
