"""Report of a function that passes: statistics of what it gives in play, and notes. JSON, no times.

`generation/measurements.py` puts it into words for the evaluator.
"""

import re
from typing import Any

import numpy as np
from jaxtyping import Float

from qllm_envs.core import Field, Spec
from qllm_jax.tfcaf.loading.signatures import ACTIONS, NEXT, REWARD, STATE
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.sizes_of_rewards import NOTHING
from qllm_jax.tfcaf.semantics.sizes_of_weights import LEAST
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial
from qllm_jax.tfcaf.static.check import Checked

CONSTANT = 1e-6  # relative spread over states below which weights count as constant
LARGE, SMALL = 1e3, 1e-3  # weights, times the number of agents as in training, that are worth a note
LARGE_BIAS = 100.0  # times the number of agents; rewards are standardized to a size of about 1
IDLE = 0.5  # of the states of rollouts without weights that count, which is worth a note
ALIKE = 1e-4  # of the largest weight
_OF_AGENTS = re.compile(r"\beach agent\b|\bfor agents?\b")  # in a field's meaning, as docs/outside.md says


def report(checked: Checked, spec: Spec, trial: Trial, seen: States, tried: Outcome) -> dict[str, Any]:
    """Return statistics over the states or steps of play `seen` (if there are none, over all tried), and notes."""
    n_seen = len(next(iter(seen.values())))
    given, bias = (tried.weights[:n_seen], tried.bias[:n_seen]) if n_seen else (tried.weights, tried.bias)
    alike = _treats_alike(spec, trial, seen, given) if n_seen else None
    found: dict[str, Any] = {"signature": checked.signature}
    what, idle = "outcomes", []
    if checked.signature == "task":
        used = np.bincount(given.astype(int).ravel(), minlength=checked.tasks)
        found |= {"tasks": checked.tasks, "task_shares": [_number(share) for share in used / used.sum()]}
        notes = ["all agents have one task in all states of rollouts"] if (used > 0).sum() < 2 else []
    elif checked.signature == "reward":
        reward = seen[REWARD] if n_seen else np.zeros(len(given), np.float32)
        found["credit"], notes = _of_credit(given.reshape(len(given), spec.n_agents, -1), reward)
    else:
        statistics = _of_weights(given, bias) | {"lowest_weight_tried": _number(tried.weights.min())}
        found = {"igm": checked.igm} | found | {"weights": statistics}
        what, notes, idle = "weights", _notes(checked, statistics, spec.n_agents), _idle(given)
    if alike is False:
        notes.append(f"agents that swap their fields do not swap {what}: right only where the task tells agents apart")
    return found | {"treats_agents_alike": alike, "notes": notes + idle}


def _idle(weights: np.ndarray) -> list[str]:
    """Return a note if on many states of rollouts no weight counts."""
    n_agents = weights.shape[1]
    idle = float((n_agents * np.abs(weights).max(-1) < LEAST).mean())
    problem = f"on {idle:.0%} of the states of rollouts no weight is above {LEAST:g}, times the number of agents"
    return [problem] if idle > IDLE else []


def _of_weights(weights: np.ndarray, bias: np.ndarray) -> dict[str, float]:
    """Return statistics of weights (P, N) and bias (P,)."""
    sizes = np.abs(weights)
    totals = sizes.sum(-1, keepdims=True)  # (P, 1)
    shares = sizes / np.where(totals > 0, totals, 1.0)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1).mean()
    n = weights.shape[1]
    found = {
        "min": weights.min(),
        "max": weights.max(),
        "mean": weights.mean(),
        "sum": weights.sum(-1).mean(),
        "entropy": entropy / np.log(n) if n > 1 else 1.0,  # 1: equal shares, 0: all for one
        "negative_share": (weights < 0).mean(),
        "sensitivity": weights.std(0).mean() / max(sizes.mean(), 1e-30),  # spread over states, relative to the mean
        "bias_min": bias.min(),
        "bias_max": bias.max(),
    }
    return {name: _number(value) for name, value in found.items()}


def _of_credit(given: Float[np.ndarray, "steps agents factors"], reward: np.ndarray) -> tuple[dict, list[str]]:
    paid, sizes = reward != 0, np.abs(given).sum(-1)  # (P,), (P, N)
    found = {
        "factors": given.shape[-1],
        "min": _number(given.min()),
        "max": _number(given.max()),
        "paid_share": _number(paid.mean()),
        "dense_share": _number((sizes[~paid].sum(-1) > 0).mean()) if (~paid).any() else 0.0,
    }
    notes = []
    if paid.any():
        shares = sizes[paid] / np.maximum(sizes[paid].sum(-1, keepdims=True), NOTHING)
        found |= {
            "sum_where_paid": _number(given[paid].sum((1, 2)).mean()),
            "reward_where_paid": _number(reward[paid].mean()),
            "largest_share_where_paid": _number(shares.max(-1).mean()),
        }
    else:
        notes.append("no step that was tried pays the team: the sizes of its credit are not checked against reward")
    if (given == given[:, :1]).all():
        notes.append("all agents get the same in every step of play: credit like the team's reward")
    return found, notes


def _number(value: Any) -> float:
    """Return a number with six digits."""
    return float(f"{float(value):.6g}")


def _treats_alike(spec: Spec, trial: Trial, seen: States, weights: np.ndarray) -> bool | None:
    """True if agents that swap fields, and actions in a step, swap outcomes.

    None if it reads the flat state, or no field belongs to agents. `weights` are (P, N), or (P, N F) with F factors.
    """
    own = [
        name for name, field in spec.fields.items() if field.shape[:1] == (spec.n_agents,) and _is_agents(name, field)
    ]
    if STATE in seen or not own:
        return None
    own += [NEXT + name for name in own] + [ACTIONS]
    of_agents = weights.reshape(len(weights), spec.n_agents, -1)
    agents = np.arange(spec.n_agents)
    # A swap beside a rotation: neighbors in a ring stay neighbors when all agents move up by one.
    for order in (np.roll(agents, 1), np.concatenate([agents[:2][::-1], agents[2:]])):
        moved = {name: values[:, order] if name in own else values for name, values in seen.items()}
        apart = trial.run(moved).weights - of_agents[:, order].reshape(weights.shape)
        if np.abs(apart).max() > ALIKE * np.abs(weights).max():
            return False
    return True


def _is_agents(name: str, field: Field) -> bool:
    return name.startswith("agent") or _OF_AGENTS.search(field.meaning) is not None


def _notes(checked: Checked, statistics: dict[str, float], n_agents: int) -> list[str]:
    notes = []
    total = n_agents * max(-statistics["min"], statistics["max"])
    if not SMALL <= total <= LARGE:
        notes.append(f"weights are of the order of {total:.1e}; Q_tot, its targets and its gradients get that scale")
    elif not 0.5 <= statistics["sum"] <= 2.0 and statistics["negative_share"] == 0:
        sized = f"the weights sum to {statistics['sum']:.3g} on average"
        notes.append(f"{sized}; training multiplies them by the number of agents, and a sum of 1 is the size of VDN's")
    bias = n_agents * max(-statistics["bias_min"], statistics["bias_max"])
    if bias > LARGE_BIAS:
        notes.append(f"the bias, times the number of agents, reaches {bias:.3g}: Q-values have to make up for it")
    if statistics["sensitivity"] < CONSTANT:
        notes.append("the weights are the same on all states of rollouts: this is a fixed weighting of the agents")
    if statistics["negative_share"] > 0 and not checked.igm:
        share = statistics["negative_share"]
        notes.append(f"{share:.0%} of the weights are negative: agents that act greedily need not maximize Q_tot")
    return notes
