"""As much of JaxMARL's qmix_rnn.py as the benchmark touches: a loop that plays, then learns, and now and then tests."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

orthogonal = nn.initializers.orthogonal  # replaced by the benchmark, as is the cell of `nn`


@struct.dataclass
class TrainState:
    params: Any
    n_updates: Any = 0
    grad_steps: Any = 0


def env_from_config(config):
    return config["ENV_KWARGS"]["num_agents"], "fake"


def make_train(config, env):
    config["NUM_UPDATES"] = config["TOTAL_TIMESTEPS"] // config["NUM_STEPS"] // config["NUM_ENVS"]

    def train(key):
        def learn(state):
            return state.replace(params=state.params @ state.params, grad_steps=state.grad_steps + 1)

        def _update_step(runner_state, _):
            state, written, tested, key = runner_state
            key, key_test = jax.random.split(key)
            written = written + 1
            state = jax.lax.cond(written >= config["BUFFER_BATCH_SIZE"], learn, lambda state: state, state)
            state = state.replace(n_updates=state.n_updates + 1)
            if config["TEST_DURING_TRAINING"]:
                due = state.n_updates % int(config["NUM_UPDATES"] * config["TEST_INTERVAL"]) == 0
                tested = jax.lax.cond(due, lambda: {"return": jax.random.uniform(key_test)}, lambda: tested)
            return (state, written, tested, key), None

        params = jnp.eye(env)[::-1] @ jax.random.permutation(key, jnp.roll(jnp.eye(env), 1, 0), axis=1)
        first = (TrainState(1.01 * params), jnp.int32(0), {"return": jnp.float32(-1.0)}, key)
        return {"runner_state": jax.lax.scan(_update_step, first, None, config["NUM_UPDATES"])[0]}

    return train
