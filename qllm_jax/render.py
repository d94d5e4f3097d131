"""Draw one episode of a trained team, with every agent's share of the credit, as an animated GIF.

    python -m qllm_jax.render runs/qllm
    python -m qllm_jax.render runs/qllm seed=2 which=last key=7 fps=2 out=episode7.gif

Keys: seed (which seed of the run; 0), which (best | last parameters), key (which episode; 0), fps (frames a second; 5),
out (a new .gif file; RUN/episode.gif unless given, which is replaced).

An agent's credit weight is the gradient of the mixer's Q_tot by that agent's chosen Q: 1 for all in VDN, scale times w
in QLLM, the local slope in QMIX. In an actor-critic with a mixer it is that of the team value by the agent's critic.
A method without a mixer has no weights: the film then shows the episode alone.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image

from qllm_jax import cli, draw, saved, stats
from qllm_jax.draw import Film
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment
from qllm_jax.rollout import rollout
from qllm_jax.saved import SavedRun
from qllm_jax.types import Episode, Params

DEFAULTS = {"seed": 0, "which": "best", "out": None, "key": 0, "fps": 5.0}
DEFAULT_OUT = "episode.gif"
HOLD_MS = 2000  # of the last frame
MIN_FPS, MAX_FPS = 0.1, 50.0  # viewers slow down what is faster


def render(arguments: list[str]) -> int:
    """The command: open the run, play, draw, write."""
    places, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(places, "render")
    out = saved.new_file(options["out"], (".gif",)) if options["out"] is not None else Path(path) / DEFAULT_OUT
    key = saved.key_number("key", options["key"])
    if not MIN_FPS <= options["fps"] <= MAX_FPS:
        raise UserError(f"fps must be between {MIN_FPS:g} and {MAX_FPS:g}, got {options['fps']:g}")
    run = saved.open_run(path, options["which"])
    n_runs = run.exp.config.seeds
    if not 0 <= options["seed"] < n_runs:
        raise UserError(f"seed={options['seed']} is not in this run: it has seeds 0 to {n_runs - 1}")
    film = film_of(run, options["seed"], key)
    write_gif(draw.frames(film), out, options["fps"])
    steps, reward = len(film.reward_t), film.reward_t.sum()
    if film.weights is None:
        weights = f"no weights: {run.exp.config.algo.name} has no mixer"
    else:
        weights = f"weights {film.weights.min():.2f} to {film.weights.max():.2f}"
    print(f"{out}: {steps} steps, return {stats.number(reward)}, {weights}")
    return 0


def film_of(run: SavedRun, seed: int, key: int) -> Film:
    """Play one evaluation episode of a run's seed, with epsilon 0. UserError when a weight is not finite."""
    exp, spec = run.exp, run.exp.env.spec
    params = jax.tree.map(lambda x: x[seed], run.params)
    # The first of the episodes that `evaluate` plays with seed=<key>.
    episode_key = jax.random.split(saved.final_keys(exp, key)[seed], 1)[0]
    episode, weights = jax.device_get(jax.jit(lambda p, k: record(exp, p, k))(params, episode_key))
    n_steps = int(episode.mask_t.sum())
    states = [jax.tree.map(lambda x: x[t], episode.env_state) for t in range(n_steps + 1)]  # noqa: B023
    weights = None if weights is None else np.asarray(weights[: n_steps + 1])
    if weights is not None and not np.isfinite(weights).all():
        raise UserError(f"{exp.config.algo.name} gives a credit weight that is not finite")
    title = f"{spec.task}: {exp.config.algo.name}, seed {seed}, {run.which} parameters"
    return Film(title, tuple(exp.env.scene(state) for state in states), weights, episode.reward_t[:n_steps])


def record(exp: Experiment, params: Params, key: jax.Array) -> tuple[Episode, Float[Array, "slots agents"] | None]:
    """An evaluation episode of one team, and its credit weights if the method has any. The key is consumed."""
    limit_ends = exp.config.env["time_limit_is_terminal"]
    act = exp.learner.act_in_evaluation
    episode = rollout(exp.env, exp.agent, act, params["agent"], key, jnp.zeros(()), limit_ends)
    return episode, exp.learner.credit(params, episode) if exp.learner.credit else None


def write_gif(frames: list[Image.Image], out: Path, fps: float) -> None:
    """Write an endless animation, whole or not at all."""
    frames = share_palette(frames)
    temporary = out.with_name(out.name + ".tmp")
    pace = round(1000 / fps)
    options: dict[str, Any] = {"duration": [pace] * (len(frames) - 1) + [max(pace, HOLD_MS)], "loop": 0}
    frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], **options)
    temporary.replace(out)


def share_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """The pictures in 256 colors that are the same in all of them, so that nothing flickers."""
    sample = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(8, len(pictures)), dtype=int)]
    width, height = sample[0].size
    sheet = Image.new("RGB", (width, height * len(sample)))
    for i, picture in enumerate(sample):
        sheet.paste(picture, (0, i * height))
    found = np.array(sheet.quantize(254, Image.Quantize.MEDIANCUT).getpalette()).reshape(-1, 3)
    # Pillow averages each background with what is near it: the true ones take the place of those averages.
    mixed = found[found.min(1) < min(draw.PANEL) - 4]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*draw.PAPER, *draw.PANEL, *mixed.flatten().tolist()])
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


if __name__ == "__main__":
    cli.main(render, __doc__)
