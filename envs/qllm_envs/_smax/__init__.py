"""Modules of `smax`: scenarios, units and world of a battle, its enemies, SMAC's rules, views and pictures."""
