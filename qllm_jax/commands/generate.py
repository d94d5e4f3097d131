"""A generation by its folder: a new one, a copy that repeats another, or one that goes on."""

from qllm_jax.generation import play, settings, start
from qllm_jax.run import folder


def generate(overrides: list[str]) -> int:
    """The command: make, copy or reopen the folder of a generation, and go on from what its transcript holds."""
    config = settings.load(overrides)
    if config.resume is not None:
        generation, llm = start.reopen(config, settings.keys(overrides))
    elif config.llm.get("provider") == "replay":
        generation, llm = start.copy(config, settings.keys(overrides))
    else:
        generation, llm = start.create(config, overrides)
    given = generation.settings
    print(f"{given.env['name']}: k={given.k}, rounds={given.rounds}, {llm.model}, folder {generation.path}", flush=True)
    with folder.locked(generation.path):
        return play.play(generation, llm)
