"""Self-play that trains the opponents of `qllm_envs.opponents`, and tables of their play. No environment imports it."""
