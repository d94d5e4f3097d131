"""Football: modules of `football_lite`, one a mechanism."""
