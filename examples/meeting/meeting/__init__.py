"""A game, a mixer and a credit function of somebody who uses qllm_jax and changes nothing in it."""
