"""Made-up batches of episodes for `originals`, as ours and as an original's `EpisodeBatch`: the same numbers."""

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import Env, Scene, Spec, Step, View
from qllm_jax.core.types import Episode

N, A, OBS, STATE, T = 3, 4, 5, 7, 7  # agents, actions, sizes of observation and state, horizon
HIDDEN = 16
SPEC = Spec("made up", N, A, OBS, STATE, T, {}, tuple("abcd"), "random", "random", "made_up", ends_early=True)


class Slot(NamedTuple):
    """An environment state that is its own view."""

    obs: Any
    avail: Any
    state: Any


class Numbers(NamedTuple):
    """All numbers of a batch, episodes leading. Slots after the end hold garbage that no method may read."""

    slots: Slot  # (B, T+1, ...)
    action: np.ndarray  # (B, T+1, N), the last slot's too
    reward: np.ndarray  # (B, T)
    terminated: np.ndarray  # (B, T)
    filled: np.ndarray  # (B, T+1) slots that exist


def environment() -> Env:
    """The environment of made-up batches. It can be observed, not played."""
    nothing = Slot(jnp.zeros((N, OBS)), jnp.ones((N, A), bool), jnp.zeros(STATE))
    step = lambda key, state, actions: Step(state, jnp.zeros(()), jnp.array(True), jnp.array(True))
    view = lambda slot: View(slot.obs, slot.avail, slot.state, {})
    return Env(SPEC, lambda key: nothing, step, view, scene=lambda state: Scene((), (0.0, 0.0, 1.0, 1.0)))


def draw(seed: int, ends: tuple[int, ...], last_terminates: bool, masked: bool) -> Numbers:
    """Draw a batch of one episode for each of `ends`, its number of steps.

    Episodes that end before the horizon terminate; one that reaches it does so if `last_terminates`. `masked` makes a
    third of the actions unavailable.
    """
    rng = np.random.default_rng(seed)
    size = len(ends)
    normal = lambda *shape: rng.normal(size=(size, T + 1, *shape)).astype(np.float32)
    avail = rng.random((size, T + 1, N, A)) > (1 / 3 if masked else -1)
    avail[..., 0] |= ~avail.any(-1)
    action = np.argmax(np.where(avail, rng.random(avail.shape), -1), -1)
    end = np.asarray(ends)[:, None]
    terminated = (np.arange(T)[None] == end - 1) & ((end < T) | last_terminates)
    reward = normal()[:, :T] * (np.arange(T)[None] < end)
    return Numbers(
        Slot(normal(N, OBS), avail, normal(STATE)), action, reward, terminated, np.arange(T + 1)[None] <= end
    )


def ours(numbers: Numbers) -> Episode:
    """The batch as this package has it, time-major."""
    major = lambda x: jnp.asarray(np.swapaxes(x, 0, 1))
    happened = np.arange(T)[None] < numbers.filled.sum(1, keepdims=True) - 1
    return Episode(
        jax.tree.map(major, numbers.slots),
        major(numbers.action[:, :T].astype(np.int32)),
        major(numbers.reward),
        major(numbers.terminated),
        major(happened.astype(np.float32)),
    )


def theirs(torch: Any, numbers: Numbers) -> Any:
    """The batch as the clone on `sys.path` has it: zeros after the ends, cut to the longest episode."""
    buffer, transforms = (importlib.import_module(f"components.{name}") for name in ("episode_buffer", "transforms"))
    scheme, groups, onehot = scheme_of(torch), {"agents": N}, {}
    onehot["actions"] = ("actions_onehot", [transforms.OneHot(out_dim=A)])
    batch = buffer.EpisodeBatch(scheme, groups, len(numbers.reward), T + 1, preprocess=onehot)
    padded = lambda x: np.concatenate([x, np.zeros_like(x[:, :1])], 1)[..., None]
    values = {
        **numbers.slots._asdict(),
        "avail_actions": numbers.slots.avail.astype(int),
        "actions": numbers.action[..., None],
        "reward": padded(numbers.reward),
        "terminated": padded(numbers.terminated.astype(np.uint8)),
    }
    del values["avail"]
    batch.update({name: torch.as_tensor(value) for name, value in values.items()})
    filled = torch.as_tensor(numbers.filled.astype(int))
    for name, value in batch.data.transition_data.items():
        keep = filled.reshape(*filled.shape, *[1] * (value.dim() - 2))
        batch.data.transition_data[name] = value * keep.to(value.dtype)
    return batch[:, : int(batch.max_t_filled())]


def scheme_of(torch: Any) -> dict[str, Any]:
    """The originals' description of a batch."""
    return {
        "state": {"vshape": STATE},
        "obs": {"vshape": OBS, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (A,), "group": "agents", "dtype": torch.int},
        "reward": {"vshape": (1,)},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
    }
