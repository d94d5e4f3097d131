"""The spec of an environment of JaxMARL: sizes, sentences, and the fields as far as they are known."""

import math
import re
from collections.abc import Mapping
from typing import Any

from qllm_envs._jaxmarl.facts import Known
from qllm_envs._jaxmarl.play import Rules, named_arrays
from qllm_envs.core import Entries, Field, Spec, StateBlock

NAME = "jaxmarl"
OF_NO_REWARD = ("num_agents", "max_steps", "layout", "scenario")  # arguments that do not change the reward


def spec_of(rules: Rules, kwargs: Mapping[str, Any] | None) -> Spec:
    """Return the spec."""
    game, sizes, n = rules.game, rules.obs_sizes, len(rules.agents)
    fields = _fields(rules)
    layout = _layout(rules, fields)
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=max(rules.n_actions),
        obs_dim=max(sizes),
        state_dim=layout[0].width,
        horizon=rules.horizon,
        ends_early=game.family.ends_early,
        fields=fields,
        action_names=game.family.actions(rules.env),
        reward=_reward(rules, kwargs),
        source=f"{rules.name} of jaxmarl 0.2.0 (arxiv.org/abs/2311.10090), after {game.family.title}",
        task=_task(rules.name, n, kwargs),
        state_layout=layout,
        text=_text(rules),
    )


def _reward(rules: Rules, kwargs: Mapping[str, Any] | None) -> str:
    weight = rules.shaped_reward
    shaped = f"; plus {weight:g} times JaxMARL's shaped rewards of all agents" if weight else ""
    # The sentence has the numbers of JaxMARL's defaults, which some arguments replace.
    told = ", ".join(f"{key}={value}" for key, value in (kwargs or {}).items() if key not in OF_NO_REWARD)
    given = f"; this is so by JaxMARL's defaults, in place of which these arguments are given: {told}" if told else ""
    return f"{rules.game.reward.rstrip('.')}{shaped}{given}."


def _text(rules: Rules) -> str:
    sizes = ", ".join(f"{i} {agent}" for i, agent in enumerate(rules.agents))
    unequal = ""
    if len(set(rules.n_actions)) > 1:
        counts = ", ".join(f"{count} of agent {i}" for i, count in enumerate(rules.n_actions))
        unequal = f" Agents have different numbers of actions ({counts}); the others are not available to them."
    return f"{rules.game.text}\n\nThe agents, by number and by the game's name: {sizes}.{unequal}"


def _task(name: str, n_agents: int, kwargs: Mapping[str, Any] | None) -> str:
    """jaxmarl_overcooked_coord_ring: the name, then the arguments, a text by its value alone."""
    told = [
        str(value) if isinstance(value, str) else f"{key}_{value}"
        for key, value in (kwargs or {}).items()
        if key not in ("num_agents", "max_steps")
    ]
    told += [f"n{n_agents}"] if "layout" not in (kwargs or {}) and "scenario" not in (kwargs or {}) else []
    return re.sub(r"[^\w.-]+", "_", "_".join([NAME, name.removeprefix("MPE_"), *told])).strip("_")


def _layout(rules: Rules, fields: Mapping[str, Field]) -> tuple[StateBlock, ...]:
    if rules.has_world:
        return (StateBlock((Entries("world_state", fields["world_state"].shape[0]),)),)
    if len(set(rules.obs_sizes)) == 1:
        return (StateBlock((Entries("agent_obs", sum(rules.obs_sizes)),)),)
    return (StateBlock(tuple(Entries(f"agent_obs[{i}][:{size}]", size) for i, size in enumerate(rules.obs_sizes))),)


def _fields(rules: Rules) -> dict[str, Field]:
    known = rules.game.family.fields
    found = {
        name: _field(rules, name, leaf.shape, known.get(name), leaf.dtype == bool)
        for name, leaf in named_arrays(rules.start).items()
    }
    if rules.has_world:
        meaning = (
            "JaxMARL's state of the world: for each unit health, position, cooldown and one-hot type, then teams, types"
        )
        return found | {
            "world_state": Field((int(rules.env.state_size),), meaning, "as in JaxMARL", -math.inf, math.inf)
        }
    n, most = len(rules.agents), max(rules.obs_sizes)
    short = "; zeros after what an agent with a smaller observation sees" if len(set(rules.obs_sizes)) > 1 else ""
    meaning = f"observation of each agent as JaxMARL gives it, flattened, row i for agent i{short}"
    return found | {"agent_obs": Field((n, most), meaning, "as in JaxMARL", -math.inf, math.inf)}


def _field(rules: Rules, name: str, shape: tuple[int, ...], known: Known | None, is_flag: bool) -> Field:
    if known is not None:
        return Field(tuple(shape), known.meaning, known.unit, known.low, known.high)
    meaning = f"the array {name} of the state of JaxMARL's {rules.name}, which says no more of it"
    low, high = (0.0, 1.0) if is_flag else (-math.inf, math.inf)
    return Field(tuple(shape), meaning, "true or false" if is_flag else "as in JaxMARL", low, high)
