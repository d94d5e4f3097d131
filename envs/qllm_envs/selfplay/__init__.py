"""Training of the opponents in `qllm_envs.opponents` by self-play, and measuring. No environment imports it."""
