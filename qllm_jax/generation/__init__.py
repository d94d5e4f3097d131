"""The coder-evaluator loop in which language models write credit functions."""
