"""The robotic warehouse: modules of `rware`: floor plan, rules, collisions and views."""
