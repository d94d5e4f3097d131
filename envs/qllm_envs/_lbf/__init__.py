"""Level-based foraging: modules of `lbf`: rules and views."""
