"""The learner contract, and the parts and first parameters of a method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, EnvState
from qllm_jax import mixers
from qllm_jax.core import rewards
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import Policy, epsilon_greedy
from qllm_jax.core.types import Choice, Episode, Params
from qllm_jax.errors import UserError
from qllm_jax.mixers import Mixer, MixerInputs


class LearnerState(NamedTuple):
    """All that one run learns."""

    params: Params  # {"agent": ..., what else the method learns}
    target_params: Params
    opt_state: Any
    reward_stats: rewards.RewardStats
    key: Any = None  # of a method whose update draws


class CreditWeights(NamedTuple):
    """The credit weights of a method: the mixer's inputs in an episode, and the mixer's slopes at those of one sample.

    Two steps, so that the weights can also be had at inputs that were changed (`qllm_jax.mixers.influence`).
    """

    inputs: Callable[[Params, Episode], MixerInputs]  # (params, one episode) -> leaves (T+1, ...)
    weights: Callable[[Params, MixerInputs], Float[Array, " agents"]]  # (params, one sample)


class Labelling(NamedTuple):
    """Credit that a critic writes into the replay while a method trains (`Episode.credit_t`)."""

    only: bool  # batches hold labelled episodes alone, once there is one
    by_rule: bool  # the function of the configuration answers in place of a model


class Update(NamedTuple):
    """The result of one update."""

    state: LearnerState
    metrics: dict[str, Array]  # scalars, `loss` among them, that are finite if and only if the update is
    suspect: EnvState | None = None  # see `batches.suspect_state`; None: the method has no mixer


LossAux = tuple[dict[str, Array], EnvState | None]  # beside a loss: metrics and suspect, as in an Update


def is_finite(metrics: dict[str, Array]) -> Bool[Array, ""]:
    """Return whether an update with these metrics was finite."""
    return jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))


class Learner(NamedTuple):
    """One method, for one run.

    `update(state, batch, recent, hp, copy_target)`: `batch` is drawn uniformly from the replay, `recent` holds the
    `n_recent` newest episodes (None where that is 0); both are time-major episodes, and may be shorter than the horizon
    by steps that happened in none of them. A plain pair of state and metrics will do for its result.
    """

    init: Callable[..., LearnerState]  # (key, choice=None): the key is consumed, `choice` is for the mixer
    update: Callable[..., Update]
    act: Policy = epsilon_greedy  # in training, on the outputs of the network params["agent"]
    act_in_evaluation: Policy = epsilon_greedy
    n_recent: int = 0
    on_policy: bool = False  # learns from the newest rollout alone, which is then batch and buffer
    reads_padding: bool = False  # learns from steps after the end: episodes are not cut
    explores: bool = True  # False: `act` must be the policy that learns, so epsilon must be 0
    unread: tuple[str, ...] = ()  # fields of Hp that make no difference: a sweep over one is refused
    credit: CreditWeights | None = None  # None: the method has no mixer
    sources: tuple[str, ...] = ()  # texts of the functions that it reads, as those of a mixer
    programs: tuple[str, ...] = ()  # digests of their traced programs
    # (env steps so far) -> the environment that is played in training; None: the one that is evaluated
    training_env: Callable[[Int[Array, ""]], Env] | None = None
    n_task_inputs: int = 0  # the last numbers of an observation, which are 0 but in training: see tasks.py
    # (params, time-major batch) -> credit (T, B, N) that a function gives
    reward_credit: Callable[[Params, Episode], Array] | None = None
    labelling: Labelling | None = None  # None: no critic
    data: Episode | None = None  # NumPy arrays (E, ...) of all that is learned from; None: what the agents play


class Core(NamedTuple):
    """The parts of which every method is made. All static."""

    env: Env
    agent: Agent
    mixer: Mixer | None  # None: a method without one
    optimizer: str  # a key of optimization.OPTIMIZERS
    standardize: bool  # rewards, see rewards.py
    reward_scale: float  # of the rewards that are learned from


def require_mixer(core: Core, method: str) -> Mixer:
    """Return the mixer of a method that needs one. UserError if the configuration has none."""
    if core.mixer is None:
        raise UserError(f"algo.learner {method!r} needs a mixer: set algo.mixer.name")
    return core.mixer


def require_state_value_mixer(core: Core, method: str) -> Mixer:
    """Return the mixer of a method whose agents have one value each. UserError without one that can mix those."""
    mixer = require_mixer(core, method)
    if mixer.needs_action_values:
        raise UserError(
            f"algo.learner {method!r} cannot use this algo.mixer: its agents have one value each, and the mixer "
            f"compares the values of all actions; choose from {', '.join(mixers.names_for_state_values())}"
        )
    return mixer


def init_mixer(core: Core, mixer: Mixer, key: jax.Array, key_env: jax.Array, choice: Choice) -> Params:
    """Parameters of a mixer; `choice` is None unless it chooses among credit functions. Both keys are consumed."""
    inputs = zero_inputs(core.env, key_env)
    return mixer.init(key, inputs) if choice is None else mixer.init(key, inputs, choice)


def initial_state(params: Params, target_networks: tuple[str, ...], opt_state: Any, key: Any = None) -> LearnerState:
    """State before the first update. Target networks are copies, as donated buffers must not be shared."""
    target_params = jax.tree.map(jnp.copy, {name: params[name] for name in target_networks})
    return LearnerState(params, target_params, opt_state, rewards.initial(), key)


def credit_weights(credit: CreditWeights, params: Params, episode: Episode) -> Float[Array, "slots agents"]:
    """Credit weights in all slots of one episode."""
    return jax.vmap(credit.weights, (None, 0))(params, credit.inputs(params, episode))


def zero_inputs(env: Env, key: jax.Array) -> MixerInputs:
    """Inputs of one sample, zero values in an initial state, that shape a mixer's parameters. Consumes the key."""
    view = env.view(env.reset(key))
    q = jnp.zeros((env.spec.n_agents,))
    return MixerInputs(q, q, q.astype(jnp.int32), view.state, view.fields)
