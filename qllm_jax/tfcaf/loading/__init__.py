"""From the text of a credit function to a callable: compiled, guarded, run in a bare namespace, traced, wrapped."""
