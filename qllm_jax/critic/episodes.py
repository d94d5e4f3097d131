"""Episodes in words, for a critic: named fields where they change, actions, and the rewards of the team."""

import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qllm_envs import Spec, source_digest
from qllm_envs.core import Field

OF_OTHERS = ("jaxmarl",)  # environments of this package that play games of another one
DIGITS = 3  # of a number that is no integer


class PlayedEpisode(NamedTuple):
    """One episode of L steps as arrays of the host, without padding."""

    fields: dict[str, np.ndarray]  # leaves (L+1, ...)
    action_t: Int[np.ndarray, "steps agents"]
    reward_t: Float[np.ndarray, " steps"]

    @property
    def is_paid(self) -> bool:
        """True if the team is paid in any step."""
        return bool(np.any(self.reward_t != 0))


def trimmed(fields: dict[str, Any], action_t: Any, reward_t: Any, mask_t: Any) -> PlayedEpisode:
    """Return an episode without the steps after its end."""
    steps = int(np.sum(mask_t))
    slots = {name: np.asarray(values)[: steps + 1] for name, values in fields.items()}
    return PlayedEpisode(slots, np.asarray(action_t)[:steps], np.asarray(reward_t)[:steps])


def draw_order(spec: Spec, task: str, rng: np.random.Generator) -> Int[np.ndarray, " agents"]:
    """Draw the order in which a question numbers the agents: number j of the question is agent `order[j]`."""
    return rng.permutation(spec.n_agents) if renumbers(spec, task) else np.arange(spec.n_agents)


def renumbers(spec: Spec, task: str) -> bool:
    """True if each question numbers the agents anew.

    Agents keep their numbers where the text of a task or of a field names some ("agents 0 to 2"), where no field
    belongs to agents, and in games of others, whose fields may hold numbers of agents, or rows of agents and others.
    """
    texts = [task, spec.reward, *(field.meaning for field in spec.fields.values())]
    is_named = any(re.search(r"\bagents? \d", text, re.IGNORECASE) for text in texts)
    is_known = any(belongs_to_agents(spec, name, field) for name, field in spec.fields.items())
    is_ours = spec.name not in OF_OTHERS and not (spec.made_by and source_digest(spec.made_by))
    return is_known and not is_named and is_ours


def undone(given: np.ndarray, order: Int[np.ndarray, " agents"]) -> np.ndarray:
    """Return an array (..., N) over the agents of a question in their own order."""
    own = np.empty_like(given)
    own[..., order] = given
    return own


def describe(episode: PlayedEpisode, spec: Spec, order: Int[np.ndarray, " agents"]) -> str:
    """Return the lines of an episode: the state at first, then of each step actions, reward, and fields that changed.

    Rows of agents are in the order of the question.
    """
    fields = {name: _in_order(spec, name, values, order) for name, values in episode.fields.items()}
    lines = [" ".join(["state 0:", *(f"{name}={compact(values[0])}" for name, values in fields.items())])]
    for t, (action, reward) in enumerate(zip(episode.action_t, episode.reward_t, strict=True)):
        lines.append(f"step {t}: actions={compact(action[order])} reward={compact(reward)}")
        changed = [f"{name}={compact(x[t + 1])}" for name, x in fields.items() if _differs(x[t], x[t + 1])]
        lines.append(" ".join([f"state {t + 1}:", *(changed or ["as before"])]))
    return "\n".join(lines)


def compact(value: Any) -> str:
    """Return numbers as short text, arrays in brackets."""
    return _text(np.asarray(value, np.float64).tolist())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(int(value)) if value.is_integer() else f"{value:.{DIGITS}g}"


def _differs(before: np.ndarray, after: np.ndarray) -> bool:
    """True if two arrays differ as text."""
    return not np.array_equal(before, after) and compact(before) != compact(after)


def belongs_to_agents(spec: Spec, name: str, field: Field) -> bool:
    """True if a field has one row for each agent, by its name or in the words of our games."""
    of_agents = name.startswith("agent") or any(
        words in field.meaning for words in ("each agent", "for agent i", "1 for agents")
    )
    return field.shape[:1] == (spec.n_agents,) and of_agents


def _in_order(spec: Spec, name: str, values: np.ndarray, order: np.ndarray) -> np.ndarray:
    return values[:, order] if belongs_to_agents(spec, name, spec.fields[name]) else values
