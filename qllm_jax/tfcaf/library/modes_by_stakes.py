"""A negative control for modes: credit in proportion to what an agent's mode pays. It sounds right, and it must hurt.

An agent does not see its mode, so its value is a mean over both, weighted by the squares of these weights: with
payoffs of 1 and 2 that turns the greedy action round (docs/credit_theory.md). Written by hand from the theory.
"""

import jax.numpy as jnp

IGM = True


def credit(state):
    """The rare mode pays twice as much, so agents in it get twice the weight of the others."""
    rare = state["rare"]
    return (1.0 + rare) / rare.shape[0], 0.0
