"""The process of a candidate, and what locks it in."""
