"""Generation of credit functions: a coder and an evaluator, both language models, around the verification gates."""
