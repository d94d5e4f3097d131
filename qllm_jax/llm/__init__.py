"""A language model as a function: requests and replies, providers, a client with a budget, the transcript."""
