"""Settings of a generation: composed by Hydra, validated into a frozen dataclass."""

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from qllm_jax import config as configs
from qllm_jax.config import KNOWN_KEYS, Count, Folder, Positive
from qllm_jax.errors import UserError
from qllm_jax.generation.prompts import Hints
from qllm_jax.llm.client import Budget
from qllm_jax.tfcaf.static.vocabulary import Kind, Signature, ValueSignature

ROOT = "generate"  # configs/generate.yaml
# Keys that resume= may change: limits, and those of `llm` that say how the same model is reached.
LIMITS = Budget._fields
REACH = ("base_url", "api_key_env", "timeout_s", "retries", "backoff_s")

Repairs = Annotated[int, Field(strict=True, ge=0)]
Tolerance = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
Halvings = Annotated[int, Field(strict=True, ge=0, le=6)]


@dataclass(frozen=True, config=KNOWN_KEYS)
class Settings:
    """Settings of one generation, as its transcript records them."""

    env: dict[str, Any]  # {"name": ..., "time_limit_is_terminal": ..., options of that environment}
    llm: dict[str, Any]  # {"provider": ..., options of that provider}
    k: Count
    rounds: Count
    repairs: Repairs
    evaluator: Literal["on", "off"]
    signature: ValueSignature
    kind: Kind = "value"  # older transcripts have no such key
    factors: StrictBool = False
    select: Literal["read", "train"] = "read"
    hints: Hints = "none"  # older transcripts have no such key
    trial_steps: Count = 100_000
    trial_seeds: Count = 3
    trial_halvings: Halvings = 0  # as in transcripts without this key
    archive: Literal["auto", "on", "off"] = "off"  # as in transcripts without this key
    archive_tolerance: Tolerance = 0.01
    max_calls: Count | None = None
    max_tokens: Count | None = None
    max_usd: Positive | None = None
    max_minutes: Positive | None = None
    max_device_seconds: Positive | None = None
    n_agents: Count | None = None
    run_dir: Folder | None = None
    resume: Folder | None = None

    @property
    def asked(self) -> Signature:
        """Signature of the function that is asked for."""
        return self.signature if self.kind == "value" else self.kind

    @property
    def has_archive(self) -> bool:
        """True if near-duplicates are told apart; "auto" leaves the paper's loop, select=read, as it is."""
        return self.archive == "on" or (self.archive == "auto" and self.select == "train")

    @property
    def budget(self) -> Budget:
        """Limits on calls, tokens, USD and time."""
        return Budget(**{name: getattr(self, name) for name in LIMITS})


def load(overrides: list[str]) -> Settings:
    """Compose and validate `key=value` overrides. Raise `UserError` with what is wrong and what is allowed."""
    found = from_dict(OmegaConf.to_container(configs.compose(ROOT, overrides)))
    check(found)
    return found


def check(settings: Settings) -> None:
    """UserError for values that are valid alone and not together."""
    if settings.factors and settings.kind != "reward":
        raise UserError(f"factors=true is of kind=reward, not of kind={settings.kind}")
    if settings.kind == "value":
        return
    for key, allowed in (("signature", "credit"), ("select", "read"), ("hints", "none")):
        if (given := getattr(settings, key)) != allowed:
            raise UserError(f"{key}={given} is of kind=value: with kind={settings.kind} it must be {allowed}")
    if settings.archive == "on":
        raise UserError(f"archive=on is of kind=value: with kind={settings.kind} it must be off or auto")


def from_dict(plain: Any) -> Settings:
    """Validate a composed or recorded mapping."""
    try:
        return TypeAdapter(Settings).validate_python(plain)
    except ValidationError as error:
        raise UserError("; ".join(configs.explain_validation(detail) for detail in error.errors())) from error


def to_dict(settings: Settings) -> dict[str, Any]:
    """Return the mapping that `from_dict` validates, without the folder, which may be moved."""
    return asdict(replace(settings, run_dir=None, resume=None))


def to_yaml(settings: Settings) -> str:
    """Return the settings as YAML, for people to read."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(settings)))


def override_keys(overrides: list[str]) -> set[str]:
    """Return the keys that `key=value` overrides set."""
    return {override.partition("=")[0].lstrip("+~") for override in overrides}
