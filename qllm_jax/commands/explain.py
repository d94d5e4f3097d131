"""`explain`: draw the credit weights of an episode beside what happens, and what each argument does to them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax import cli, files
from qllm_jax.commands import render
from qllm_jax.commands.report import SUFFIXES
from qllm_jax.core.types import Episode, Params
from qllm_jax.errors import UserError
from qllm_jax.learners.base import CreditWeights
from qllm_jax.mixers import MixerInputs
from qllm_jax.mixers.influence import influence
from qllm_jax.program.experiment import Experiment
from qllm_jax.reporting import explanation
from qllm_jax.reporting.explanation import Explanation
from qllm_jax.run import folder, gated
from qllm_jax.run.final_evaluation import check_key_number, final_keys, greedy_episodes
from qllm_jax.run.load import LoadedRun

DEFAULTS: dict[str, Any] = {
    "configuration": None,
    "seed": 0,
    "which": "best",
    "out": None,
    "overwrite": False,
    "key": 0,
    "episodes": 32,
}
DEFAULT_OUT = "explain.png"
MAX_STATES = 1024  # drawn at random from those that were visited


def explain(arguments: list[str]) -> int:
    """Load the run, play episodes, measure, draw, write picture and JSON, print a table. Return the exit code."""
    paths, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(paths, "explain")
    out, data = outputs(options["out"], path, options["overwrite"])
    key = check_key_number("key", options["key"])
    if options["episodes"] < 2:
        raise UserError(f"episodes must be at least 2, got {options['episodes']}")
    run = gated.load_run(path, options["which"])
    credit = credit_of(run.exp)
    index = run.index_of(options["configuration"], options["seed"])
    explained = explanation_of(run, credit, index, key, options["episodes"])
    explanation.draw(explained, out)
    asked = {name: options[name] for name in ("seed", "which", "key", "episodes")}
    files.write_atomically(data, json.dumps(record(explained) | {"run": str(path), **asked}, indent=1) + "\n")
    print(f"{table(explained)}\nwritten: {out}, {data}")
    return 0


def outputs(out: str | None, run: str, overwrite: bool) -> tuple[Path, Path]:
    """Paths of the picture and of the JSON beside it. UserError if one that was asked for cannot be written."""
    if out is None:
        picture = folder.default_out(run, DEFAULT_OUT)
        return picture, picture.with_suffix(".json")
    picture = folder.new_file(out, SUFFIXES, overwrite)
    return picture, folder.new_file(str(picture.with_suffix(".json")), (".json",), overwrite)


def credit_of(exp: Experiment) -> CreditWeights:
    """The credit weights of a method. UserError for one without a mixer."""
    if exp.learner.credit is None:
        raise UserError(f"{exp.config.algo.name} has no mixer, so it has no credit weights to explain")
    return exp.learner.credit


def explanation_of(run: LoadedRun, credit: CreditWeights, index: int, key: int, episodes: int) -> Explanation:
    """Play greedy episodes of the run at `index`; the first is the one that `render` draws with the same `key`."""
    params = jax.tree.map(lambda x: x[index], run.params)
    play_all = jax.jit(lambda p, k: play(run.exp, credit, p, k, episodes))
    played, inputs, weights = jax.device_get(play_all(params, final_keys(run.exp, key)[index]))
    film = render.film(run, index, jax.tree.map(lambda x: x[0], played), weights)
    measured = influence(partial(credit.weights, params), visited(played, inputs), run.exp.env.spec)
    return Explanation(film, np.asarray(weights)[: len(film.scenes)], measured, episodes)


def play(
    exp: Experiment, credit: CreditWeights, params: Params, key: jax.Array, episodes: int
) -> tuple[Episode, MixerInputs, jax.Array]:
    """Greedy episodes, inputs of the mixer, leaves (episodes, ...), and weights of the first. The key is consumed."""
    played = greedy_episodes(exp, params, key, episodes)
    inputs = jax.vmap(partial(credit.inputs, params))(played)  # (episodes, T+1, ...)
    first = jax.tree.map(lambda x: x[0], inputs)
    return played, inputs, jax.vmap(partial(credit.weights, params))(first)


def visited(played: Episode, inputs: MixerInputs) -> MixerInputs:
    """Inputs in the states in which the team acted, or in MAX_STATES of them; leaves (states, ...)."""
    episode, t = np.nonzero(played.mask_t > 0)
    if len(t) > MAX_STATES:
        kept = np.sort(np.random.default_rng(0).choice(len(t), MAX_STATES, replace=False))
        episode, t = episode[kept], t[kept]
    return jax.tree.map(lambda x: x[episode, t], inputs)


def table(explained: Explanation) -> str:
    """The effects as text, one row per argument."""
    found, weights = explained.influence, explained.weights
    effects = [*found.effects, found.together]
    width = max(len(effect.name) for effect in effects)
    number = lambda x: "-" if x is None else f"{x:.4f}" if x else "0"
    rows = [f"{'argument':<{width}}  {'shares':>8}  {'weights':>8}  {'sensitivity':>11}"]
    rows += [
        f"{e.name:<{width}}  {number(e.shares):>8}  {number(e.weights):>8}  {number(e.sensitivity):>11}"
        for e in effects
    ]
    head = f"{explained.film.title}: weights {weights.min():.2f} to {weights.max():.2f}"
    return "\n".join([head, f"what each argument does to the weights, in {explanation.caption(explained)}:", *rows])


def record(explained: Explanation) -> dict[str, Any]:
    """The content of the JSON file."""
    film, found = explained.film, explained.influence
    return {
        "title": film.title,
        "states": found.n_states,
        "arguments": [effect._asdict() for effect in found.effects],
        "all_arguments": {"shares": found.together.shares, "weights": found.together.weights},
        "moments": explanation.moments(explained.weights),
        "credit_weights": np.asarray(explained.weights, float).round(6).tolist(),
        "rewards": np.asarray(film.reward_t, float).round(6).tolist(),
    }
