"""The texts that the two roles get: role prompts, after appendix A of QLLM (arxiv.org/abs/2504.12961), and the task.

Everything about the environment that code knows is generated from its spec, so that a text cannot drift from the code.
"""

import json
import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from qllm_envs import Env
from qllm_envs.core import Field, Spec
from qllm_jax.config import config_dir
from qllm_jax.errors import UserError
from qllm_jax.generation import flat_state
from qllm_jax.tfcaf.static.vocabulary import BUILTINS, METHODS, MODULES, Signature
from qllm_jax.tfcaf.verdict import sha256

Hints = Literal["none", "paper"]

# Of the user messages: filled in as the generation goes.
MESSAGES = (
    "coder_first", "coder_next", "coder_repair", "coder_gate",
    "evaluator_choose", "evaluator_again",
)  # fmt: skip


class Prompts(NamedTuple):
    """All texts of one generation. They are recorded with it: an edited file does not change one that is resumed."""

    coder: str  # the system text of the coder
    evaluator: str  # the system text of the evaluator
    messages: dict[str, str]  # templates, by the names in `MESSAGES`

    def sha256(self) -> str:
        """Of all texts."""
        return sha256(json.dumps(self._asdict(), sort_keys=True))


def build(env: Env, name: str, signature: Signature, select: str = "read", hints: Hints = "none") -> Prompts:
    """The texts for the environment `name`, and the evaluator's for a way to select.

    `UserError` for a text that is missing, or that has a wrong placeholder, and for hints that the paper does not give.
    """
    spec = env.spec
    advice = f"\n\n{_hints(spec, name)}" if hints == "paper" else ""
    words = "\n".join(f"  {line}" for line in _words())
    if signature == "credit":
        state = _fields(spec, 'state["{}"]')
        contract = fill("contract_credit", n_agents=str(spec.n_agents), words=words)
    else:
        state = flat_state.describe(spec, _fields(spec, "{}"))
        sizes = {"n_agents": str(spec.n_agents), "state_dim": str(spec.state_dim)}
        contract = fill("contract_paper", words=words, **sizes)
    task = fill(
        "task",
        text=fill(f"tasks/{name}"),
        n_agents=str(spec.n_agents),
        horizon=str(spec.horizon),
        reward=spec.reward,
        actions=", ".join(_action(number, name) for number, name in enumerate(spec.action_names)),
        state=state,
    )
    task += advice
    coder = fill("coder", task=task, contract=contract)
    evaluator = fill("evaluator", task=task, contract=contract, evidence=fill(f"evidence_{select}"))
    return Prompts(coder, evaluator, {name: read(name) for name in MESSAGES})


def fill(name: str, **values: str) -> str:
    """The text `prompts/<name>.md` with its placeholders filled."""
    return render(read(name), name, **values)


def render(template: str, name: str, /, **values: str) -> str:
    """`template` with each `{{key}}` replaced. `UserError` unless its placeholders are exactly the keys of `values`.

    What is filled in is not looked at again: code with braces stays as it is.
    """
    found = set(re.findall(r"\{\{(.*?)\}\}", template))
    for key in sorted(found ^ set(values)):
        problem = "is nothing that can be filled in here" if key in found else "is missing"
        allowed = ", ".join(f"{{{{{known}}}}}" for known in sorted(values)) or "none"
        raise UserError(f"prompts/{name}.md: the placeholder {{{{{key}}}}} {problem} (placeholders: {allowed})")
    return re.sub(r"\{\{(.*?)\}\}", lambda match: values[match.group(1)], template)


def read(name: str) -> str:
    """The text of `prompts/<name>.md`, without blank lines at its ends."""
    path = prompts_dir() / f"{name}.md"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"the prompt {str(path)!r} cannot be read: {error.strerror}") from error


def prompts_dir() -> Path:
    """The folder of the prompts: beside `configs` in a checkout and in a wheel."""
    return config_dir().parent / "prompts"


def _hints(spec: Spec, name: str) -> str:
    """What the paper advises its models to do in a battle (appendix A, "heuristic reasoning guide").

    Its other task texts have rules and aims, and no advice. `spec.task` ends with the name of the scenario.
    """
    known = [(path.parent.name, path.stem) for path in sorted((prompts_dir() / "hints").glob("*/*.md"))]
    for game, scenario in known:
        if game == name and spec.task.endswith(f"_{scenario}"):
            return fill(f"hints/{game}", scenario=read(f"hints/{game}/{scenario}"))
    having = " and ".join(f"{game} with env.scenario={scenario}" for game, scenario in known)
    raise UserError(f"hints=paper: the paper gives no hints for {spec.task}, only for {having}; choose hints=none")


def _fields(spec: Spec, way: str) -> str:
    """One paragraph for each array of the state; `way` is how a function gets at the array of a name."""
    described = ((way.format(name), field) for name, field in spec.fields.items())
    return "\n".join(
        flat_state.paragraph(f"{name}, shape {field.shape}: {_meaning(field)}") for name, field in described
    )


def _action(number: int, name: str) -> str:
    return name if name == str(number) else f"{number} {name}"


def _meaning(field: Field) -> str:
    low, high = field.low, field.high
    if math.isinf(low) and math.isinf(high):
        bounds = "not bounded"
    elif math.isinf(high):
        bounds = f"at least {low:g}"
    elif math.isinf(low):
        bounds = f"at most {high:g}"
    else:
        bounds = f"from {low:g} to {high:g}"
    return f"{field.meaning}. Unit: {field.unit}. Range: {bounds}."


def _words() -> list[str]:
    """What a function may use, as the static check has it."""
    plain = {module: [name for name in names if f"{module}.{name}" not in MODULES] for module, names in MODULES.items()}
    plain |= {"of arrays": list(METHODS), "of Python": list(BUILTINS)}
    texts = [f"{where}: {' '.join(sorted(names))}" for where, names in plain.items() if names]
    return [line for text in texts for line in flat_state.paragraph(text).split("\n")]
