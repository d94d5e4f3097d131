"""Settings of all tests: an implicit broadcast between ranks is an error, as it hides a missing axis."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
