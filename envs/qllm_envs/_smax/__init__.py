"""Parts of `smax`: scenarios, units, world, enemies, rules, views."""
