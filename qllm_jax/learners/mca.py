"""Independent double Q-learning on each agent's own reward, which written code gives it, after LLM-MCA
(arxiv.org/abs/2502.16863): LLM-MCA-style, as neither its text nor its code is published.

Factors that a function gives in place of credit are turned into credit by a small network, which is fitted to the
team's return, as in LaRe (arxiv.org/abs/2412.11120).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core import options, rewards
from qllm_jax.core.networks import Mlp
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import asking as asking_options
from qllm_jax.learners import batches, double_q, iql, offline, reward_credit, targets, tasks
from qllm_jax.learners.base import Core, Labelling, Learner, LearnerState, LossAux
from qllm_jax.learners.reward_credit import RewardCredit, Transition
from qllm_jax.tfcaf import TaskFunction

PART = "learner 'mca'"
LEAST_RETURN = 1e-2  # mean square of the returns of a batch, below which the network's error is not relative to it
AGENT, CREDIT, DECODER = "agent", "credit", "decoder"  # names of parameters


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    credit: RewardCredit
    decoder: Mlp | None  # of factors; None: the function gives credit


def make(
    core: Core, *, function: str | Sequence[str] = "", decoder_dim: int = 64, decoder_layers: int = 1, task: str = "",
    task_steps: int = 200_000, critic: str = "", asking: Mapping[str, Any] = MappingProxyType({}), data: str = "",
) -> Learner:  # fmt: skip
    """Learn from the reward credit of `function`. UserError with a mixer, which would have nothing to do.

    `function` is a library name or a file (empty: the one named as the environment), and may end with a control: see
    reward_controls.py. Several are chosen among by a sweep. `decoder_dim` and `decoder_layers` are the width and the
    number of hidden layers of the network that reads factors, if the function gives those. `task` names a function that
    tells agents tasks, for which the environment must be made (tasks.py): they are told less and less often, linearly,
    up to `task_steps` env steps, and never after that.

    `critic` writes credit into the replay between chunks: "rule" is that of the function, "llm" a language model's, and
    `asking` has its options. `data` is a dataset, which is learned from in place of what the agents play. With a
    language model, and with a dataset, no function is read.
    """
    if core.mixer is not None:
        raise UserError("algo.learner 'mca' mixes nothing: set algo.mixer to {} as algo=matched_mca does")
    check_source_of_credit(critic, data, task)
    functions = [function] if isinstance(function, str) else function
    has_function = critic != "llm" and not data
    credit = reward_credit.load(core.env.spec, functions) if has_function else reward_credit.STORED
    widths = (options.integer(PART, "decoder_dim", decoder_dim),)
    widths *= options.integer(PART, "decoder_layers", decoder_layers)
    method = Method(core, credit, Mlp(widths, 1) if credit.n_factors > 1 else None)
    of = lambda part: partial(part, method)
    learner = double_q.learner(core, of(init_params), of(td_loss), (AGENT,), rewards=of(with_credit))
    if critic and method.decoder is not None:
        raise UserError("algo.learner.critic=rule needs a function that gives credit, and this one gives factors")
    labelled_alone = asking_options.read(dict(asking)).unlabelled == "skip"
    learner = learner._replace(
        sources=credit.sources,
        programs=credit.programs,
        reward_credit=of(credit_of_batch) if has_function else None,
        labelling=Labelling(labelled_alone, critic == "rule") if critic else None,
        data=offline.read(data, core.env, labelled_alone) if data else None,
        unread=("epsilon_start", "epsilon_end", "epsilon_steps") if data else (),  # nothing is played
    )
    steps = options.integer(PART, "task_steps", task_steps)
    return learner if not task else train_with_tasks(core, learner, tasks.load(core.env.spec, task), steps)


def check_source_of_credit(critic: str, data: str, task: str) -> None:
    """UserError for options of which only one can hold."""
    options.choice(PART, "critic", critic, asking_options.CRITICS)
    if critic and data:
        raise UserError("algo.learner.data has credit already: set algo.learner.critic to ''")
    if task and (data or critic == "llm"):
        given = "data" if data else "critic=llm"
        raise UserError(f"algo.learner.task is told to agents that play and learn from a function, not with {given}")


def train_with_tasks(core: Core, learner: Learner, function: TaskFunction, task_steps: int) -> Learner:
    """The method whose agents are told tasks in training."""
    kept = lambda env_steps: jnp.clip(1.0 - env_steps / task_steps, 0.0, 1.0)
    return learner._replace(
        sources=(*learner.sources, function.source),
        programs=(*learner.programs, function.program),
        training_env=lambda env_steps: tasks.in_training(core.env, function, kept(env_steps)),
        n_task_inputs=1 + function.n_tasks,
    )


def credit_of_batch(method: Method, params: Params, batch: Episode) -> Float[Array, "time batch agents"]:
    """The function's credit of a time-major batch."""
    return credit_of(method, params, factors_of(method, params, batch, batches.views(method.core.env, batch)))


def init_params(method: Method, key: jax.Array, choice: Choice) -> Params:
    """Parameters of the agents, of the network of factors, and what controls and a choice fix. Consumes the key."""
    # The agents' are those of IQL with the same key.
    params = {AGENT: method.core.agent.init(key)}
    if fixed := method.credit.init(jax.random.fold_in(key, 1), choice):
        params[CREDIT] = fixed
    if method.decoder is not None:
        params[DECODER] = method.decoder.init(jax.random.fold_in(key, 2), jnp.zeros(method.credit.n_factors))
    return params


def with_credit(method: Method, state: LearnerState, batch: Episode) -> tuple[rewards.RewardStats, Episode]:
    """The moments of credit after a time-major batch, and the batch with each agent's credit, standardized.

    The credit of an episode is an array, `Episode.credit_t`: where a batch has one already, it is learned from.
    """
    credit = batch.credit_t
    if credit is None:
        credit = credit_of_batch(method, state.params, batch)
    # 0 after the end, as the team's reward is.
    credit = jnp.where(batch.mask_t[..., None] > 0, jax.lax.stop_gradient(credit), 0.0)
    stats, credit = targets.standardize(method.core, state.reward_stats, credit, batch)
    return stats, batch._replace(credit_t=credit)


def factors_of(method: Method, params: Params, batch: Episode, view: View) -> Float[Array, "time batch agents factors"]:
    """Results of the function in all steps of a time-major batch."""
    before, after = ({name: x[slots] for name, x in view.fields.items()} for slots in (slice(-1), slice(1, None)))
    transition = Transition(before, batch.action_t, batch.reward_t, after)
    return jax.vmap(jax.vmap(partial(method.credit.apply, params.get(CREDIT, {}))))(transition)


def credit_of(method: Method, params: Params, factors: Float[Array, "... agents factors"]) -> jax.Array:
    """Each agent's credit (..., N)."""
    if method.decoder is None:
        return factors.squeeze(-1)
    decoded = method.decoder.apply(params[DECODER], factors)
    assert isinstance(decoded, jax.Array)
    return decoded.squeeze(-1)


def td_loss(
    method: Method, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """IQL's loss on a batch with credit, and that of the network of factors: the squared error of the team's return.

    The error is relative to the mean square of the returns of the batch, so that the clip of the norm of all gradients
    leaves the agents' steps as they are whatever the scale of rewards.
    """
    loss, (metrics, _) = iql.td_loss(method.core, params, target_params, batch, view, hp)
    if method.decoder is None:
        return loss, (metrics, None)
    factors = factors_of(method, params, batch, view)
    # Masked before the network, whose gradient would be NaN for a factor that is NaN after the end.
    credit = credit_of(method, params, jnp.where(batch.mask_t[..., None, None] > 0, factors, 0.0))
    returned = jnp.sum(batch.mask_t * batch.reward_t, 0)  # (B,)
    apart = jnp.sum(batch.mask_t * jnp.sum(credit, -1), 0) - returned
    fit = jnp.mean(apart**2) / jnp.maximum(jnp.mean(returned**2), LEAST_RETURN)
    metrics |= {"loss": loss + fit, "return_error": jnp.mean(jnp.abs(apart))}
    return loss + fit, (metrics, None)
