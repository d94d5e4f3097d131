"""The authors' functions for SMAC and football, in the paper's signature, rewritten from descriptions of their logic.

Those for environments that are here are shipped, as `<env>_paper`.

Source of the logic: the TFCAF_*.txt files of the release of QLLM (arxiv.org/abs/2504.12961); no text of it is used.
Distances have a floor of 1e-6, so that their slope is finite where two things coincide. Weights sum to 1; the release
multiplies Q_tot by the number of agents outside of the function.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A function and the sizes of its task."""

    text: str
    n_agents: int
    state_dim: int


HEAD = '''"""See the table."""

import jax
import jax.numpy as jnp


def length(vectors):
    return jnp.sqrt(jnp.maximum(jnp.sum(vectors**2, axis=-1), 1e-12))


def total(weights, agents_q):
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)


def QLLMNetwork(agents_q, global_state):
    batch, n = agents_q.shape
'''

# Allies: health, cooldown, x, y, shield. Enemies: health, x, y, shield. Dead enemies are zeros, which the function
# takes for enemies at the center of the map, as published.
STALKERS = """
    ally = global_state[:, :15].reshape(batch, n, 5)
    enemy = global_state[:, 15:35].reshape(batch, 5, 4)
    action = global_state[:, 35:].reshape(batch, n, 11)
    health, cooldown, shield = ally[:, :, 0], ally[:, :, 1], ally[:, :, 4]
    alive = (health > 0.0) * 1.0
    away = length(ally[:, :, None, 2:4] - enemy[:, None, :, 1:3])
    d = jnp.min(away, axis=-1)
    kiting = jnp.exp(-((d - 0.115) ** 2) / (2.0 * 0.035**2))
    kiting = kiting - jax.nn.sigmoid(60.0 * (0.05 - d)) - jax.nn.sigmoid(60.0 * (d - 0.2142))
    shielded = jnp.where(shield > 0.6, 1.0, jnp.where(shield > 0.3, 0.7, 0.3))
    attacks = action[:, :, 6:]
    together = jnp.sum(attacks, axis=1, keepdims=True) / n
    leader = jnp.where(jnp.arange(n) == 0, 1.3, 0.9)[None]
    focus = leader * jnp.sum(attacks * (1.0 - enemy[:, None, :, 0]) * together, axis=-1)
    threat = jnp.sum(jnp.exp(-5.0 * away), axis=-1)
    threat = threat / jnp.maximum(jnp.max(threat, axis=-1, keepdims=True), 1e-6)
    busy = jnp.sum(attacks, axis=-1)
    central = 1.0 / (1.0 + length(ally[:, :, 2:4] - jnp.mean(ally[:, :, 2:4], axis=1, keepdims=True)))
    score = 1.3 * alive + 1.1 * jax.nn.sigmoid(-5.0 * (cooldown - 0.3)) + 0.9 * shielded + 1.4 * kiting
    score = score + 1.2 * focus + 0.7 * threat + 0.5 * busy + 0.4 * central
    weights = jax.nn.softmax(3.0 * jnp.tanh(score / 3.0), axis=-1) * alive
    return total(weights / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), 1e-6), agents_q)
"""

COLOSSI = """
    ally = global_state[:, :10].reshape(batch, n, 5)
    enemy = global_state[:, 10:202].reshape(batch, 64, 3)
    action = global_state[:, 202:].reshape(batch, n, 70)
    health, cooldown, shield = ally[:, :, 0], ally[:, :, 1], ally[:, :, 4]
    away = length(ally[:, :, None, 2:4] - enemy[:, None, :, 1:3])
    there = enemy[:, None, :, 0] > 0.0
    threat = jnp.sum(there * jnp.exp(-10.0 * away), axis=-1)
    pressure = jnp.clip(jnp.sum(there & (away < 0.25), axis=-1) / 16.0, 0.0, 1.0)
    survival = 0.6 * health + 0.4 * shield + 0.5 * health * shield
    readiness = jnp.where(cooldown == 0.0, 1.0, jax.nn.sigmoid(3.0 - 8.0 * cooldown))
    best = 0.08 + 0.12 * pressure
    placed = jnp.sum(there * jnp.exp(-jnp.abs(away - best[:, :, None]) / 0.05), axis=-1) / 64.0
    tactics = pressure + placed + jnp.exp(-threat / 2.0)
    attack = jnp.sum(action[:, :, 6:], axis=-1)
    blend = (1.0 + pressure) * survival + (2.0 - pressure) * readiness + tactics + 0.5 * attack
    lost = (health <= 0.0) | (health + shield < 0.15)
    return total(jax.nn.softmax(jnp.where(lost, -1e8, blend), axis=-1), agents_q)
"""

# What the release trains with on this map instead of its .txt file: the only one with a bias.
COLOSSI_BIAS = """
    ally = global_state[:, :10].reshape(batch, n, 5)
    enemy = global_state[:, 10:202].reshape(batch, 64, 3)
    survival, cooldown = ally[:, :, 0] + ally[:, :, 4], ally[:, :, 1]
    away = length(ally[:, :, None, 2:4] - enemy[:, None, :, 1:3])
    threat = jnp.sum((enemy[:, None, :, 0] > 0.0) & (away < 0.25), axis=-1)
    weights = jax.nn.softmax(survival / (1.0 + cooldown) * (1.0 + 2.0 * threat / 64.0), axis=-1)
    return total(weights, agents_q) - 0.5 * jnp.mean(enemy[:, :, 0], axis=1)[:, None]
"""

# The paper's listing. Possession is [nobody, ours, theirs]: index 0, which it takes for "ours", is "nobody", and what
# it takes for the holder of the ball, numbers 97 to 100, is the active player of agent 0's observation.
FOOTBALL_3_VS_1 = """
    me = global_state[:, :115]
    place = me[:, 2 : 2 + 2 * n].reshape(batch, n, 2)
    ball, possession, holder = me[:, None, 88:90], me[:, 94:97], me[:, 97 : 97 + n]
    to_goal = length(place - jnp.array([[[1.0, 0.0]]]))
    to_ball = length(place - ball)
    ours = (jnp.argmax(possession, axis=-1) == 0)[:, None]
    inside = (to_goal > 0.19) & (to_goal < 0.99)
    holds = jnp.where(inside, 10.0 * (1.0 - to_goal), 1.0)
    attack = jnp.where(holder > 0.5, holds, 1.0 / (1.0 + to_goal))
    return total(jax.nn.softmax(jnp.where(ours, attack, 1.0 / (1.0 + to_ball)), axis=-1), agents_q)
"""

FOOTBALL_COUNTERATTACK = """
    agent = global_state.reshape(batch, n, 115)
    place = jnp.sum(agent[:, :, 97:108, None] * agent[:, :, :22].reshape(batch, n, 11, 2), axis=2)
    to_goal = length(place - jnp.array([[[1.0, 0.0]]]))
    to_ball = length(place - agent[:, :, 88:90])
    ours = agent[:, 0, 95:96] > 0.5
    closest = jnp.arange(n)[None] == jnp.argmin(to_ball, axis=-1)[:, None]
    d = jnp.sum(closest * to_goal, axis=-1, keepdims=True)
    leads = ours & (d > 0.19) & (d < 0.99)
    return total(jax.nn.softmax(jnp.where(leads, 5.0 * closest, 1.0 / (to_goal + 1e-6)), axis=-1), agents_q)
"""

FOOTBALL_PASS_AND_SHOOT = """
    me = global_state[:, :115]
    place = me[:, 2 : 2 + 2 * n].reshape(batch, n, 2)
    to_goal = length(place - jnp.array([[[1.0, 0.0]]]))
    to_ball = length(place - me[:, None, 88:90])
    ours = me[:, 95:96] > 0.5
    carrier = jnp.arange(n)[None] == jnp.argmin(to_ball, axis=-1)[:, None]
    far = jnp.clip((0.99 - to_goal) / 0.8, 0.0, 1.0)
    shot = jnp.where(to_goal <= 0.19, to_goal / 0.19, far)
    return total(jax.nn.softmax(jnp.where(ours, jnp.where(carrier, shot, 0.1), 1.0), axis=-1), agents_q)
"""

PUBLISHED = {
    "3s_vs_5z": Published(STALKERS, 3, 68),
    "2c_vs_64zg": Published(COLOSSI, 2, 342),
    "2c_vs_64zg_as_trained": Published(COLOSSI_BIAS, 2, 342),
    "academy_3_vs_1": Published(FOOTBALL_3_VS_1, 4, 460),
    "academy_counterattack": Published(FOOTBALL_COUNTERATTACK, 4, 460),
    "academy_pass_and_shoot": Published(FOOTBALL_PASS_AND_SHOOT, 3, 345),
}
PUBLISHED = {name: p._replace(text=HEAD + p.text.lstrip("\n")) for name, p in PUBLISHED.items()}
