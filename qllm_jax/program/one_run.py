"""The functions of one run: fresh state, rollouts into its buffer, one gradient step, episodes that are scored.

`compiled` maps them over the run axis R. Keys come from the run's seed and a counter, so a run does not depend on which
other runs are trained beside it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qllm_envs import Env
from qllm_jax.core import buffer, labels, lockstep, rollout, rollout_gpu
from qllm_jax.core.agents import Agent
from qllm_jax.core.labels import Credits, Labels
from qllm_jax.core.platforms import Platform
from qllm_jax.core.rollout import Policy, score
from qllm_jax.core.types import Choice, Clock, Episode, Hp, Params, Scores
from qllm_jax.learners import Learner, LearnerState, Update
from qllm_jax.program import guard

# Independent keys of one run.
EVAL_STREAM, INIT_STREAM, ROLLOUT_STREAM, SAMPLE_STREAM, FINAL_STREAM, CREDIT_STREAM = range(6)


class RunState(NamedTuple):
    """State of one run; all leaves gain a leading axis R under vmap."""

    key: jax.Array  # never consumed: every use folds a stream and a counter into it
    learner: LearnerState
    storage: buffer.Storage  # a dataset has no axis R, as all runs read the same
    best_params: Params  # of the evaluation with the best return
    best_return: Float[Array, ""]
    fault: guard.Fault  # the update that was not finite, after which the run learns no more
    labels: Labels | None = None  # of the stored episodes, if a critic gives credit


class Sizes(NamedTuple):
    """Static settings: a change of one is another program."""

    n_envs: int
    batch_episodes: int
    buffer_episodes: int
    target_interval: int  # gradient steps between target updates
    time_limit_is_terminal: bool  # see rollout
    eval_epsilon: float
    platform: Platform = "cpu"  # that the program is built for, see platforms.py
    gradient_steps: int = 1  # after each rollout


class Parts(NamedTuple):
    """The parts that all functions of a run use. All static."""

    env: Env
    agent: Agent
    learner: Learner
    sizes: Sizes


def init(parts: Parts, root: jax.Array, seed: Array, choice: Choice = None) -> RunState:
    """A fresh run with an empty buffer. `choice` (K,) marks its credit function, None where all runs have the same."""
    key = jax.random.fold_in(root, seed)  # by number, not by split: run i does not depend on how many there are
    state = parts.learner.init(jax.random.fold_in(key, INIT_STREAM), choice)
    episodes = jax.eval_shape(lambda: play_episodes(parts, parts.learner.act, state.params, key, 1, jnp.zeros(())))
    if has_credit(parts.learner):
        episodes = jax.eval_shape(partial(labels.equal_split, n_agents=parts.env.spec.n_agents), episodes)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes)
    storage = buffer.empty(shapes, parts.sizes.buffer_episodes)
    best = jax.tree.map(jnp.copy, state.params)
    fault = guard.none(jax.eval_shape(parts.env.reset, key))
    labelling = parts.learner.labelling
    labelled = labels.empty(parts.sizes.buffer_episodes, labelling.only) if labelling else None
    return RunState(key, state, storage, best, jnp.full((), -jnp.inf, jnp.float32), fault, labelled)


def has_credit(learner: Learner) -> bool:
    """True if stored episodes have credit."""
    return learner.labelling is not None or learner.data is not None


def play_episodes(
    parts: Parts, act: Policy, params: Params, key: jax.Array, n_episodes: int, epsilon: jax.Array
) -> Episode:
    """Episodes, leaves (n_episodes, ...). The key is consumed."""
    terminal = parts.sizes.time_limit_is_terminal
    form = rollout_gpu.rollout if parts.sizes.platform == "gpu" else rollout.rollout
    one = lambda key: form(parts.env, parts.agent, act, params["agent"], key, epsilon, terminal)
    return lockstep.vmap(one)(jax.random.split(key, n_episodes))


def collect(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """Play one rollout into the buffer."""
    key = stream(run.key, ROLLOUT_STREAM, clock.episodes)
    epsilon = epsilon_at(hp, clock.env_steps)
    training_env = parts.learner.training_env
    played = parts if training_env is None else parts._replace(env=training_env(clock.env_steps))
    episodes = play_episodes(played, parts.learner.act, run.learner.params, key, parts.sizes.n_envs, epsilon)
    stored = labels.equal_split(episodes, parts.env.spec.n_agents) if run.labels else episodes
    storage = buffer.write(run.storage, stored, clock.episodes)
    labelled = labels.write(run.labels, parts.sizes.n_envs, clock.episodes) if run.labels else None
    length = jnp.mean(jnp.sum(episodes.mask_t, -1))
    scores = jax.vmap(partial(score, parts.env))(episodes)
    metrics = {"return": jnp.mean(scores.returns), "episode_length": length, "epsilon": epsilon}
    for name, share in (("win_rate", scores.won), ("crash_rate", scores.crashed)):
        if share is not None:
            metrics[name] = jnp.mean(share)
    return run._replace(storage=storage, labels=labelled), metrics


def reread(run: RunState) -> dict[str, Array]:
    """Metrics of the episodes of a dataset, which take the place of a rollout."""
    mean = lambda x: jnp.mean(jnp.sum(x, -1))
    return {"return": mean(run.storage.reward_t), "episode_length": mean(run.storage.mask_t), "epsilon": jnp.zeros(())}


def learn(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """Take one gradient step on a batch from the buffer."""
    key = stream(run.key, SAMPLE_STREAM, clock.episodes)
    if parts.sizes.gradient_steps > 1:
        key = jax.random.fold_in(key, clock.updates)  # a batch of its own for each step after a rollout
    stored = clock.episodes if parts.learner.data is None else jnp.asarray(parts.sizes.buffer_episodes)
    preferred = run.labels.labelled & run.labels.only if run.labels else None
    rows = buffer.sample_rows(run.storage, key, stored, parts.sizes.batch_episodes, preferred)
    batch = buffer.take(run.storage, rows)
    copy_target = clock.updates % parts.sizes.target_interval == 0
    n_recent = parts.learner.n_recent
    recent = buffer.latest(run.storage, clock.episodes, n_recent) if n_recent else None
    hp = guard.frozen(run.fault, hp)
    state, metrics, _ = updated = update(parts, run.learner, (batch, recent), hp, copy_target)
    fault = guard.after_update(run.fault, clock, updated)
    if run.labels:
        metrics |= {"labelled_share": jnp.mean(run.labels.labelled[rows].astype(jnp.float32))}
    return run._replace(learner=state, fault=fault), metrics


def update(
    parts: Parts, state: LearnerState, episodes: tuple[Episode, Episode | None], hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """The method's update from a batch and the newest episodes, cut after the last step that happened in any run."""
    of_prefix = lambda batch, recent: Update(*parts.learner.update(state, batch, recent, hp, copy_target))
    if parts.learner.reads_padding or not parts.env.spec.ends_early:
        return of_prefix(*episodes)
    return lockstep.call_on_prefix(of_prefix, *episodes)


def relabel(run: RunState, given: Credits) -> tuple[RunState, Array]:
    """Write a critic's credit into the replay. Return True for each question (Q,) whose episode got it."""
    assert run.labels is not None
    storage, labelled, landed = labels.relabel(run.storage, run.labels, given)
    return run._replace(storage=storage, labels=labelled), landed


def stored_episodes(parts: Parts, run: RunState, number: Array) -> tuple[Episode, dict[str, Array], Array]:
    """Stored episodes (Q, ...) by number, their fields (Q, T+1, ...), and their credit (Q, T, N) by the rule.

    Credit is as it is stored, if there is no rule. Numbers that are not stored give any episode.
    """
    assert run.labels is not None
    labelling, credit_of = parts.learner.labelling, parts.learner.reward_credit
    batch = buffer.take(run.storage, labels.rows_of(run.labels, number)[0])
    credit = credit_of(run.learner.params, batch) if labelling and labelling.by_rule and credit_of else batch.credit_t
    fields = jax.vmap(jax.vmap(parts.env.view))(batch.env_state).fields
    return jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (batch._replace(env_state=()), fields, credit))


def evaluate(parts: Parts, clock: Clock, run: RunState, n_episodes: int) -> tuple[RunState, Scores]:
    """Scores (n_episodes,) of the current parameters, which the run keeps if their mean return is the best so far."""
    key = stream(run.key, EVAL_STREAM, clock.episodes)
    epsilon = jnp.asarray(parts.sizes.eval_epsilon)
    scores = play(parts, run.learner.params, key, n_episodes, epsilon)
    mean = jnp.mean(scores.returns)
    better = mean > run.best_return
    keep = lambda new, old: jnp.where(better, new, old)
    best = jax.tree.map(keep, run.learner.params, run.best_params)
    return run._replace(best_params=best, best_return=keep(mean, run.best_return)), scores


def play(parts: Parts, params: Params, key: jax.Array, n_episodes: int, epsilon: Array) -> Scores:
    """Scores (n_episodes,) of parameters. The key is consumed."""
    episodes = play_episodes(parts, parts.learner.act_in_evaluation, params, key, n_episodes, epsilon)
    return jax.vmap(partial(score, parts.env))(episodes)


def stream(key: jax.Array, name: int, counter: Array | int) -> jax.Array:
    """Return the key of one use: stream `name` at `counter`."""
    return jax.random.fold_in(jax.random.fold_in(key, name), counter)


def epsilon_at(hp: Hp, env_steps: Array) -> Float[Array, ""]:
    """Linear anneal over environment steps, constant within one rollout."""
    share = jnp.clip(env_steps / hp.epsilon_steps, 0.0, 1.0)
    return hp.epsilon_start + share * (hp.epsilon_end - hp.epsilon_start)
