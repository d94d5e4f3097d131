"""Good credit functions in the styles in which language models write them: none of them may be refused."""

from typing import Any

from tfcaf.candidates.training import LBF, MATRIX, SPREAD, TAG

_HEAD = "import jax\nimport jax.numpy as jnp\n\n\n"

# name: (environment, source)
STYLES: dict[str, tuple[dict[str, Any], str]] = {
    "vmap_of_a_helper": (
        SPREAD,
        _HEAD + '''def share(p, landmarks):
    """Closeness of one agent to its nearest landmark."""
    d2 = jnp.sum((landmarks - p) ** 2, axis=-1)
    return jnp.exp(-jnp.min(d2))


def credit(state):
    w = jax.vmap(share, in_axes=(0, None))(state["agent_pos"], state["landmark_pos"])
    return w + 0.1, 0.0
''',
    ),
    "nested_vmap": (
        SPREAD,
        _HEAD + '''def squared(a, b):
    return jnp.sum((a - b) ** 2)


def credit(state):
    pos, goal = state["agent_pos"], state["landmark_pos"]
    table = jax.vmap(jax.vmap(squared, in_axes=(None, 0)), in_axes=(0, None))(pos, goal)
    nearest = jnp.sqrt(table.min(axis=1) + 1e-6)
    return jax.nn.softmax(-nearest), 0.0
''',
    ),
    "vmap_kept_under_a_name": (
        SPREAD,
        _HEAD + '''def credit(state):
    goal = state["landmark_pos"]

    def closest(p):
        return jnp.min(jnp.sum(jnp.square(goal - p[None, :]), axis=1))

    per_agent = jax.vmap(closest)
    return jax.nn.softmax(-per_agent(state["agent_pos"])), 0.0
''',
    ),
    "vmap_of_a_lambda": (
        SPREAD,
        _HEAD + '''def credit(state):
    pos = state["agent_pos"]
    spread = jax.vmap(lambda p: jnp.mean(jnp.abs(p - pos)))(pos)
    return jax.nn.softplus(spread), 0.0
''',
    ),
    "vmap_that_indexes": (
        SPREAD,
        _HEAD + '''def credit(state):
    pos, goal = state["agent_pos"], state["landmark_pos"]

    def one(i):
        k = jnp.argmin(jnp.sum((goal - pos[i]) ** 2, axis=-1))
        return jnp.exp(-jnp.abs(goal[k] - pos[i]).sum())

    return 0.1 + jax.vmap(one)(jnp.arange(pos.shape[0])), 0.0
''',
    ),
    "fori_loop_over_agents": (
        SPREAD,
        _HEAD + '''def credit(state):
    pos, goal = state["agent_pos"], state["landmark_pos"]
    n = pos.shape[0]

    def body(i, w):
        d2 = jnp.sum((pos[i] - goal) ** 2, axis=-1)
        return w.at[i].set(1.0 / (1.0 + jnp.min(d2)))

    w = jax.lax.fori_loop(0, n, body, jnp.zeros(n))
    return w / (jnp.sum(w) + 1e-3), 0.0
''',
    ),
    "scan_over_landmarks": (
        SPREAD,
        _HEAD + '''def credit(state):
    pos = state["agent_pos"]

    def step(total, landmark):
        d = jnp.sqrt(jnp.sum((pos - landmark) ** 2, axis=-1) + 1e-6)
        return total + jax.nn.softmax(-d), jnp.min(d)

    total, nearest = jax.lax.scan(step, jnp.zeros(pos.shape[0]), state["landmark_pos"])
    return total / nearest.shape[0], -jnp.sum(nearest)
''',
    ),
    "cond_on_the_state": (
        SPREAD,
        _HEAD + '''def credit(state):
    pos = state["agent_pos"]
    crowded = jnp.std(pos[:, 0]) < 0.2 if False else jnp.var(pos) < 0.05
    w = jax.lax.cond(crowded, lambda p: jnp.ones(p.shape[0]), lambda p: jax.nn.softmax(p[:, 0]), pos)
    return w, 0.0
''',
    ),
    "softmax_of_distances_by_hand": (
        SPREAD,
        _HEAD + '''def credit(state):
    diff = state["agent_pos"][:, None, :] - state["landmark_pos"][None, :, :]
    d = jnp.sqrt(jnp.sum(diff ** 2, axis=-1) + 1e-8).min(axis=1)
    return jnp.exp(-d) / jnp.sum(jnp.exp(-d)), 0.0
''',
    ),
    "types_from_typing": (
        SPREAD,
        "from __future__ import annotations\n\nfrom typing import Dict, Tuple\n\n" + _HEAD + '''IGM: bool = True


def credit(state: Dict[str, jnp.ndarray]) -> Tuple[jnp.ndarray, float]:
    weights: jnp.ndarray = jax.nn.softmax(-jnp.abs(state["agent_pos"]).sum(-1))
    return weights, 0.0
''',
    ),
    "default_arguments": (
        SPREAD,
        _HEAD + '''def safe_norm(v, eps=1e-6, axis=-1):
    return jnp.sqrt(jnp.sum(v * v, axis=axis) + eps)


def credit(state):
    d = safe_norm(state["agent_pos"][:, None] - state["landmark_pos"][None])
    return 1.0 / (0.1 + d.min(axis=1)), 0.0
''',
    ),
    "imports_inside": (
        SPREAD,
        '''def credit(state):
    import jax
    import jax.numpy as jnp

    speed = jnp.sqrt(jnp.sum(state["agent_vel"] ** 2, axis=-1) + 1e-8)
    return 0.5 + jax.nn.sigmoid(speed), 0.0
''',
    ),
    "long_names_of_modules": (
        SPREAD,
        '''import jax


def credit(state):
    pos = state["agent_pos"]
    return jax.numpy.exp(-0.5 * jax.numpy.sum(pos ** 2, axis=-1)) + 0.05, 0.0
''',
    ),
    "stop_gradient_and_select": (
        SPREAD,
        _HEAD + '''def credit(state):
    x = state["agent_pos"][:, 0]
    w = jax.lax.stop_gradient(jax.nn.softmax(x))
    return jax.lax.select(x > 0, w + 0.1, w + 0.2), 0.0
''',
    ),
    "exponential_of_a_position": (
        SPREAD,
        _HEAD + '''def credit(state):
    x = state["agent_pos"][:, 0]
    logits = jnp.exp(0.5 * x)
    return logits / logits.sum(), 0.0
''',
    ),
    "one_hot_of_no_action_yet": (
        LBF,
        _HEAD + '''def credit(state):
    last = jax.nn.one_hot(state["last_action"].astype(jnp.int32), 6)
    loaded = last[:, 5]
    return 0.5 + loaded, 0.0
''',
    ),
    "masked_softmax_with_a_large_number": (
        LBF,
        _HEAD + '''def credit(state):
    pos, food, level = state["agent_pos"], state["food_pos"], state["food_level"]
    d = jnp.abs(pos[:, None] - food[None]).sum(-1)
    d = jnp.where(level[None] > 0, d, 1e3)
    return jax.nn.softmax(-d.min(axis=1) / 4.0), 0.0
''',
    ),
    "sum_over_foods_by_vmap": (
        LBF,
        _HEAD + '''def credit(state):
    pos, levels = state["agent_pos"], state["agent_level"]

    def value(cell, food_level):
        apart = jnp.abs(pos - cell).sum(-1)
        return jnp.where(food_level > 0, levels / (1.0 + apart), 0.0)

    per_food = jax.vmap(value)(state["food_pos"], state["food_level"])
    return 0.1 + per_food.sum(axis=0), 0.0
''',
    ),
    "tag_by_softmin": (
        TAG,
        _HEAD + '''TEMPERATURE = 0.5


def credit(state):
    delta = state["prey_pos"][None, :] - state["agent_pos"]
    d = jnp.sqrt(jnp.maximum(jnp.sum(delta * delta, axis=1), 1e-12))
    closing = jnp.sum(state["agent_vel"] * delta, axis=1) / jnp.maximum(d, 0.1)
    return jax.nn.softmax((closing - d) / TEMPERATURE), 0.0
''',
    ),
    "one_hot_of_the_last_joint_action": (
        MATRIX,
        _HEAD + '''def credit(state):
    payoff, last = state["payoff"], state["last_action"]
    seen = jnp.clip(last, 0, payoff.shape[0] - 1).astype(jnp.int32)
    mean = jnp.mean(payoff, axis=1)[seen]
    return jax.nn.softmax(mean / (1.0 + jnp.max(jnp.abs(payoff)))), 0.0
''',
    ),
    "zip_that_is_strict": (
        SPREAD,
        _HEAD + '''def credit(state):
    parts = [jnp.abs(p - q).sum() for p, q in zip(state["agent_pos"], state["agent_vel"], strict=True)]
    return jax.nn.softmax(-jnp.stack(parts)), 0.0
''',
    ),
    "short_names_from_jax": (
        SPREAD,
        '''import jax.numpy as jnp
from jax import nn, vmap

IGM = True


def credit(state):
    goal = state["landmark_pos"]
    near = vmap(lambda p: jnp.min(jnp.sum((goal - p) ** 2, axis=-1)))(state["agent_pos"])
    return nn.softmax(-jnp.sqrt(near + 1e-6)), 0.0
''',
    ),
}  # fmt: skip
