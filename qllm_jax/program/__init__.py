"""One compiled program for all runs: from a configuration to its parts, the run axis, devices."""
