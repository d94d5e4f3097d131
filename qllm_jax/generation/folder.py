"""The folder of a generation: created, copied for a replay, or reopened. Its transcript begins with all settings."""

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from qllm_envs import outside
from qllm_jax import files
from qllm_jax.config import trust
from qllm_jax.errors import UserError
from qllm_jax.generation import prompts, settings
from qllm_jax.generation.prompts import Prompts
from qllm_jax.generation.settings import LIMITS, REACH, Settings
from qllm_jax.llm import providers
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.providers import replay
from qllm_jax.llm.types import Llm
from qllm_jax.program import experiment
from qllm_jax.run.folder import claim, is_taken, locked
from qllm_jax.run.provenance import commit, version

CONFIG = "generate.yaml"  # for people; a config.yaml would make the folder a run of training
_PROMPTS, _ARGUMENTS = TypeAdapter(Prompts), TypeAdapter(list[str])
PACKAGES = ("qllm-jax", "jax", "openai")


class Generation(NamedTuple):
    """A generation as its folder holds it. `path` is the folder."""

    path: Path
    settings: Settings
    prompts: Prompts
    env_arguments: list[str]  # overrides of the environment, for the command that trains with the function


def create(config: Settings, overrides: list[str]) -> tuple[Generation, Llm]:
    """Create a generation. Raise `UserError` for a missing environment or prompt, or a folder that exists."""
    llm = _check_price(providers.make(config.llm), config)
    env = experiment.make_env(config.env, config.n_agents)
    texts = prompts.build(env, config.env["name"], config.asked, config.select, config.hints, config.factors)
    path = _make(config, llm.model)
    chosen = [override for override in overrides if re.match(r"[+~]*(env[=.]|n_agents=)", override)]
    with _new(path, config), transcripts.opened(path / transcripts.NAME) as transcript:
        transcripts.append(
            transcript,
            "start",
            settings=settings.to_dict(config),
            prompts=texts._asdict(),
            env_arguments=chosen,
            date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            commit=commit(),
            versions={name: version(name) for name in PACKAGES},
        )
    return _read(path), llm


def copy(config: Settings, keys: set[str]) -> tuple[Generation, Llm]:
    """Create a folder with a copy of a transcript, to be replayed. Raise `UserError` for other keys than `run_dir`."""
    if changed := sorted(keys - {"llm", "llm.transcript", "run_dir"}):
        raise UserError(
            f"llm=replay repeats a generation as it was; only run_dir can be given, not {', '.join(changed)}"
        )
    llm = providers.make(config.llm)  # raises if there is no transcript
    source = replay.find(config.llm["transcript"])
    records, size = transcripts.read(source)
    if not records:
        raise UserError(f"{str(source)!r} holds no generation")
    recorded = settings.from_dict(records[0]["settings"])
    path = _make(replace(recorded, run_dir=config.run_dir), "replay")
    with _new(path, recorded):
        files.write_atomically(path / transcripts.NAME, source.read_bytes()[:size])
    return _read(path), llm._replace(price=providers.price(recorded.llm))


def reopen(config: Settings, keys: set[str]) -> tuple[Generation, Llm]:
    """Reopen a generation. Raise `UserError` if there is none, or for other keys than limits and REACH."""
    path = files.expanded(config.resume or "")
    reach = [f"llm.{name}" for name in REACH]
    if changed := sorted(keys - {"resume", *LIMITS, *reach}):
        allowed = ", ".join([*LIMITS, *reach])
        raise UserError(f"resume= keeps the recorded settings; only {allowed} can change, not {', '.join(changed)}")
    if not (path / transcripts.NAME).is_file():
        raise UserError(f"{str(path)!r} is not the folder of a generation (it has no {transcripts.NAME})")
    with locked(path), transcripts.opened(path / transcripts.NAME) as transcript:
        if not transcript.records:
            raise UserError(f"{str(path)!r} holds no generation: it was stopped before it began; remove it")
        generation, limits = _read(path), {name: getattr(config, name) for name in LIMITS if name in keys}
        given = {name: config.llm[name] for name in REACH if f"llm.{name}" in keys}
        found = replace(generation.settings, **limits, llm=generation.settings.llm | given)
        generation = generation._replace(settings=found)
        llm = _check_price(providers.make(found.llm), found)
        if limits or given:
            transcripts.append(transcript, "resume", limits=limits, **({"llm": given} if given else {}))
    files.write_atomically(path / CONFIG, settings.to_yaml(generation.settings))
    return generation, llm


def resume_command(path: Path) -> str:
    """The command that goes on with a generation."""
    return shlex.join(["python", "-m", "qllm_jax.generate", f"resume={path}"])


def _read(path: Path) -> Generation:
    records, _ = transcripts.read(path / transcripts.NAME)
    start = records[0]
    name = path / transcripts.NAME
    try:
        recorded = settings.from_dict(start["settings"])
        for record in records:
            if record["kind"] == "resume":
                recorded = replace(recorded, **record["limits"], llm=recorded.llm | record.get("llm", {}))
        trust.require([recorded.env.get("name")], path)
        texts = _PROMPTS.validate_python(start["prompts"])
        if missing := [key for key in prompts.ALWAYS if key not in texts.messages]:
            raise KeyError(missing)
        return Generation(path, recorded, texts, _ARGUMENTS.validate_python(start["env_arguments"]))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{str(name)!r} does not begin as a transcript of a generation") from error


def _make(config: Settings, model: str) -> Path:
    """Make the folder of a new generation. UserError if `run_dir` holds anything."""
    if not config.run_dir:
        return claim(_default_path(config, model), is_default=True)
    path = files.expanded(config.run_dir)
    if is_taken(path):
        is_generation = (path / transcripts.NAME).is_file()
        way = f": go on with {resume_command(path)}" if is_generation else ", and is no generation: remove it"
        raise UserError(f"run_dir {str(path)!r} exists already{way}, or choose another")
    files.make_folder(path, exist_ok=True)
    return path


@contextmanager
def _new(path: Path, config: Settings) -> Iterator[None]:
    """Lock a new folder while its transcript begins. UserError if another process has begun one there."""
    with locked(path):
        if (path / transcripts.NAME).exists():
            raise UserError(f"run_dir {str(path)!r} is in use: another process has begun a generation there")
        files.write_atomically(path / CONFIG, settings.to_yaml(config))
        yield


def _default_path(config: Settings, model: str) -> Path:
    agents = f"_n{config.n_agents}" if config.n_agents else ""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-.")[:60]
    env, now = outside.label(config.env["name"]), time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"generate_{env}{agents}_{name}_{now}"


def _check_price(llm: Llm, config: Settings) -> Llm:
    """Return `llm`. Raise `UserError` if its price is needed and unknown."""
    if config.max_usd is not None and llm.price is None:
        raise UserError("max_usd needs prices: set llm.usd_per_1m_input and llm.usd_per_1m_output")
    return llm
