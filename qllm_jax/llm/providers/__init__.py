"""Providers of language models, by name: the file `<name>.py` here with a `make(*, options) -> Llm`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qllm_envs import parts
from qllm_jax.config import explain_validation
from qllm_jax.errors import UserError
from qllm_jax.llm.types import Llm, Price

_KIND = parts.Kind(__name__, Path(__file__).parent, "llm.provider")


def names() -> tuple[str, ...]:
    """Return the names of all providers, sorted."""
    return parts.names(_KIND)


def make(config: dict[str, Any]) -> Llm:
    """Make the language model of a configuration's `llm:`. Raise `UserError` with the wrong key and what is allowed."""
    options = {str(key): value for key, value in config.items()}
    if "provider" not in options:
        raise UserError(f"llm needs a provider: choose from {', '.join(names())}")
    name = options.pop("provider")
    try:
        make_llm = parts.find(_KIND, name, options)
        return make_llm(**options)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(detail) for detail in error.errors())) from error
    except ValueError as error:  # of `parts.find`; pydantic's is one too
        raise UserError(str(error)) from error


def price(config: Mapping[str, Any]) -> Price | None:
    """Return the price in a configuration's `llm:`, None unless both parts are set."""
    prompt, completion = config.get("usd_per_1m_input"), config.get("usd_per_1m_output")
    return None if prompt is None or completion is None else Price(prompt, completion)


def _sentence(detail: Any) -> str:
    if str(detail["type"]).startswith("missing"):
        return f"llm.{detail['loc'][0]} is missing"
    return f"llm.{explain_validation(detail)}"
