"""Commands: `python -m qllm_jax.X` runs `commands/X.py`.

The modules `qllm_jax/X.py` have the help texts alone, so that --help answers without importing jax.
"""
