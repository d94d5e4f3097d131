"""L5: the process of a candidate, and the layers that lock it in."""
