"""The folder of a generation: made, copied for a replay, or opened again. Its transcript's first line says it all."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.generation import prompts, settings
from qllm_jax.generation.prompts import Prompts
from qllm_jax.generation.settings import LIMITS, Settings
from qllm_jax.llm import providers
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.providers import replay
from qllm_jax.llm.records import Llm
from qllm_jax.program import experiment
from qllm_jax.run import folder, provenance

CONFIG = "generate.yaml"  # for people; a config.yaml would make the folder a run of training
PACKAGES = ("qllm-jax", "jax", "openai")


class Generation(NamedTuple):
    """A generation as its folder holds it."""

    path: Path
    settings: Settings
    prompts: Prompts
    env_arguments: list[str]  # those of the command line that say which environment, to be used in training


def create(config: Settings, overrides: list[str]) -> tuple[Generation, Llm]:
    """A new generation. `UserError` for an environment or a text that does not exist, or a folder that does."""
    llm = _affordable(providers.make(config.llm), config)
    env = experiment.make_env(config.env, config.n_agents)
    texts = prompts.build(env, config.env["name"], config.signature, config.select, config.hints)
    path = Path(config.run_dir) if config.run_dir else _default_path(config, llm.model)
    _make(path, config)
    chosen = [override for override in overrides if re.match(r"(env[=.]|n_agents=)", override)]
    with transcripts.opened(path / transcripts.NAME) as transcript:
        transcripts.append(
            transcript,
            "start",
            settings=settings.to_dict(config),
            prompts=texts._asdict(),
            env_arguments=chosen,
            date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            commit=provenance.commit(),
            versions={name: provenance.version(name) for name in PACKAGES},
        )
    return _read(path), llm


def copy(config: Settings, keys: set[str]) -> tuple[Generation, Llm]:
    """A new folder that holds a copy of a transcript, to be replayed. `UserError` for keys that cannot be changed."""
    if changed := sorted(keys - {"llm", "llm.transcript", "run_dir"}):
        raise UserError(
            f"llm=replay repeats a generation as it was; only run_dir can be given, not {', '.join(changed)}"
        )
    llm = providers.make(config.llm)  # which finds the transcript, or says that there is none
    source = replay.find(config.llm["transcript"])
    records, size = transcripts.read(source)
    if not records:
        raise UserError(f"{str(source)!r} holds no generation")
    recorded = settings.from_dict(records[0]["settings"])
    path = Path(config.run_dir) if config.run_dir else _default_path(recorded, "replay")
    _make(path, recorded)
    (path / transcripts.NAME).write_bytes(source.read_bytes()[:size])
    return _read(path), llm._replace(price=providers.price(recorded.llm))


def reopen(config: Settings, keys: set[str]) -> tuple[Generation, Llm]:
    """A generation to go on with. `UserError` when there is none, or for keys other than limits."""
    path = Path(config.resume or "")
    if changed := sorted(keys - {"resume", *LIMITS}):
        allowed = ", ".join(LIMITS)
        raise UserError(f"resume= goes on as it was configured; only {allowed} can change, not {', '.join(changed)}")
    if not (path / transcripts.NAME).is_file():
        raise UserError(f"{str(path)!r} is not the folder of a generation (it has no {transcripts.NAME})")
    with folder.locked(path), transcripts.opened(path / transcripts.NAME) as transcript:
        if not transcript.records:
            raise UserError(f"{str(path)!r} holds no generation: it was stopped before it began; remove it")
        opened, limits = _read(path), {name: getattr(config, name) for name in LIMITS if name in keys}
        opened = opened._replace(settings=replace(opened.settings, **limits))
        llm = _affordable(providers.make(opened.settings.llm), opened.settings)
        if limits:
            transcripts.append(transcript, "resume", limits=limits)
    files.write_atomically(path / CONFIG, settings.to_yaml(opened.settings))
    return opened, llm


def _read(path: Path) -> Generation:
    records, _ = transcripts.read(path / transcripts.NAME)
    begun = records[0]
    recorded = settings.from_dict(begun["settings"])
    for record in records:
        recorded = replace(recorded, **record["limits"]) if record["kind"] == "resume" else recorded
    return Generation(path, recorded, Prompts(**begun["prompts"]), begun["env_arguments"])


def _make(path: Path, config: Settings) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"run_dir {str(path)!r} exists already: go on with resume={path}, or choose another run_dir")
    path.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path / CONFIG, settings.to_yaml(config))


def _default_path(config: Settings, model: str) -> Path:
    agents = f"_n{config.n_agents}" if config.n_agents else ""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-.")
    return Path("runs") / f"generate_{config.env['name']}{agents}_{name}_{time.strftime('%Y%m%d-%H%M%S')}"


def _affordable(llm: Llm, config: Settings) -> Llm:
    """`llm`, unless its price is needed and unknown."""
    if config.max_usd is not None and llm.price is None:
        raise UserError("max_usd needs prices: set llm.usd_per_1m_input and llm.usd_per_1m_output")
    return llm
