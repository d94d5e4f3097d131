"""The particle world: physics, and what its tasks share."""
