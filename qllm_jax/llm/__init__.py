"""Language models: providers, requests and replies, budgets, the transcript."""
