"""What the commands do: `python -m qllm_jax.X` is `commands/X.py`, which is imported once there is something to do.

The modules `qllm_jax/X.py` hold the help alone, so that --help answers before jax is imported.
"""
