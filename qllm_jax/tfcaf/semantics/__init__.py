"""Checks of what a candidate computes."""
