"""Level-based foraging: rules, and what is seen."""
