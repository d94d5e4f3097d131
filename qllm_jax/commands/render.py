"""`render`: play one episode of a run and draw it with the credit weights of its agents."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float

from qllm_envs.core import undrawn
from qllm_jax import cli, stats
from qllm_jax.core.types import Episode, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import base
from qllm_jax.program import run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.reporting import frames
from qllm_jax.reporting.frames import Film
from qllm_jax.reporting.gif import write_gif
from qllm_jax.run import folder, gated, wandb_log
from qllm_jax.run.final_evaluation import check_key_number, final_keys, greedy_episodes
from qllm_jax.run.load import LoadedRun

DEFAULTS = {
    "configuration": None,
    "seed": 0,
    "which": "best",
    "out": None,
    "key": 0,
    "fps": 5.0,
    "overwrite": False,
    "upload": False,
}
DEFAULT_OUT = "episode.gif"
MIN_FPS, MAX_FPS = 0.1, 50.0  # viewers slow down faster animations


def render(arguments: list[str]) -> int:
    """Load the run, play an episode, draw it, write the GIF. Return the exit code."""
    paths, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(paths, "render")
    given = options["out"]
    out = None if given is None else folder.new_file(given, (".gif",), options["overwrite"])
    key = check_key_number("key", options["key"])
    if not MIN_FPS <= options["fps"] <= MAX_FPS:
        raise UserError(f"fps must be between {MIN_FPS:g} and {MAX_FPS:g}, got {options['fps']:g}")
    run = gated.load_run(path, options["which"])
    if options["upload"]:
        wandb_log.check_film(run.exp.config, run.path)  # before the time to draw it is spent
    index = run.index_of(options["configuration"], options["seed"])
    film = film_of(run, index, key)
    out = out or folder.default_out(path, DEFAULT_OUT)
    write_gif(frames.frames(film), out, options["fps"])
    steps, reward = len(film.reward_t), film.reward_t.sum()
    if film.weights is None:
        weights = f"no weights: {run.exp.config.algo.name} has no mixer"
    else:
        weights = f"weights {film.weights.min():.2f} to {film.weights.max():.2f}"
    print(f"{out}: {steps} steps, return {stats.format_number(reward)}, {weights}")
    if options["upload"]:
        wandb_log.send_film(run.exp.config, run.path, index, out, run.params_steps[index], run.env_steps)
        print(wandb_log.sync_line(run.exp.config, run.path) or "sent to wandb")
    return 0


def film_of(run: LoadedRun, index: int, key: int) -> Film:
    """Play one greedy episode of the run at `index`. UserError if a credit weight is not finite."""
    exp = run.exp
    params = jax.tree.map(lambda x: x[index], run.params)
    episode, weights = jax.device_get(jax.jit(partial(record, exp))(params, final_keys(exp, key)[index]))
    return film(run, index, episode, weights)


def film(run: LoadedRun, index: int, episode: Episode, weights: Float[np.ndarray, "slots agents"] | None) -> Film:
    """The steps of an episode that were played, from arrays on the host.

    UserError if a weight is not finite, or if the environment draws nothing.
    """
    exp, spec, scene = run.exp, run.exp.env.spec, run.exp.env.scene
    if scene is undrawn:
        raise UserError(f"{spec.name} has no scene, so it cannot be drawn: give its Env a scene")
    chosen = run_axis.runs(exp.config)[index]
    n_steps = int(episode.mask_t.sum())
    states = [jax.tree.map(lambda x: x[t], episode.env_state) for t in range(n_steps + 1)]  # noqa: B023
    weights = None if weights is None else np.asarray(weights[: n_steps + 1])
    if weights is not None and not np.isfinite(weights).all():
        raise UserError(f"{exp.config.algo.name} gives a credit weight that is not finite")
    name = ", ".join([exp.config.algo.name, *([chosen.label] if chosen.label else []), f"seed {chosen.seed}"])
    title = f"{spec.task}: {name}, {run.which} parameters"
    return Film(title, tuple(map(scene, states)), weights, np.asarray(episode.reward_t)[:n_steps])


def record(exp: Experiment, params: Params, key: jax.Array) -> tuple[Episode, Float[Array, "slots agents"] | None]:
    """A greedy episode and its credit weights (see `CreditWeights`), if the method has any. The key is consumed."""
    episode = jax.tree.map(lambda x: x[0], greedy_episodes(exp, params, key, 1))
    return episode, base.credit_weights(exp.learner.credit, params, episode) if exp.learner.credit else None
