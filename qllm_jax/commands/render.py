"""A film of one episode, with the credit weights.

An agent's credit weight is the gradient of the mixer's Q_tot by that agent's chosen Q, see `Learner.credit`.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image

from qllm_jax import cli, files, stats
from qllm_jax.core.rollout import rollout
from qllm_jax.core.types import Episode, Params
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.reporting import drawing
from qllm_jax.reporting.drawing import Film
from qllm_jax.reporting.style import PANEL, PAPER
from qllm_jax.run import reopen
from qllm_jax.run.reopen import SavedRun

DEFAULTS = {"configuration": None, "seed": 0, "which": "best", "out": None, "key": 0, "fps": 5.0}
DEFAULT_OUT = "episode.gif"
HOLD_MS = 2000  # of the last frame
MIN_FPS, MAX_FPS = 0.1, 50.0  # viewers slow down what is faster


def render(arguments: list[str]) -> int:
    """The command: open the run, play, draw, write."""
    places, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(places, "render")
    out = files.new_file(options["out"], (".gif",)) if options["out"] is not None else Path(path) / DEFAULT_OUT
    key = reopen.key_number("key", options["key"])
    if not MIN_FPS <= options["fps"] <= MAX_FPS:
        raise UserError(f"fps must be between {MIN_FPS:g} and {MAX_FPS:g}, got {options['fps']:g}")
    run = reopen.open_run(path, options["which"])
    film = film_of(run, place_of(run, options["configuration"], options["seed"]), key)
    write_gif(drawing.frames(film), out, options["fps"])
    steps, reward = len(film.reward_t), film.reward_t.sum()
    if film.weights is None:
        weights = f"no weights: {run.exp.config.algo.name} has no mixer"
    else:
        weights = f"weights {film.weights.min():.2f} to {film.weights.max():.2f}"
    print(f"{out}: {steps} steps, return {stats.number(reward)}, {weights}")
    return 0


def place_of(run: SavedRun, configuration: str | None, seed: int) -> int:
    """The place on the run axis of a configuration, by its label or number, and a seed. UserError if there is none."""
    runs = run_axis.runs(run.exp.config)
    rows = run_axis.rows(runs)
    by_name = {name: label for i, label in enumerate(rows) for name in (label, str(i))}
    label = by_name.get(configuration or "0")
    if label is None:
        known = "; ".join(f"{i} ({each})" if each else str(i) for i, each in enumerate(rows))
        raise UserError(f"configuration={configuration} is not in this run: it has {known}")
    places = {runs[i].seed: i for i in rows[label]}
    if seed not in places:
        raise UserError(f"seed={seed} is not in this run: it has seeds {min(places)} to {max(places)}")
    return places[seed]


def film_of(run: SavedRun, place: int, key: int) -> Film:
    """Play one evaluation episode of one of the runs, with epsilon 0. UserError when a weight is not finite."""
    exp, spec = run.exp, run.exp.env.spec
    who = run_axis.runs(exp.config)[place]
    params = jax.tree.map(lambda x: x[place], run.params)
    # The first of the episodes that `evaluate` plays with seed=<key>.
    episode_key = jax.random.split(reopen.final_keys(exp, key)[place], 1)[0]
    episode, weights = jax.device_get(jax.jit(lambda p, k: record(exp, p, k))(params, episode_key))
    n_steps = int(episode.mask_t.sum())
    states = [jax.tree.map(lambda x: x[t], episode.env_state) for t in range(n_steps + 1)]  # noqa: B023
    weights = None if weights is None else np.asarray(weights[: n_steps + 1])
    if weights is not None and not np.isfinite(weights).all():
        raise UserError(f"{exp.config.algo.name} gives a credit weight that is not finite")
    name = ", ".join([exp.config.algo.name, *([who.label] if who.label else []), f"seed {who.seed}"])
    title = f"{spec.task}: {name}, {run.which} parameters"
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
    mixed = found[found.min(1) < min(PANEL) - 4]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*PAPER, *PANEL, *mixed.flatten().tolist()])
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
